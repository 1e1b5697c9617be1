# The commands of this project. Each recipe is short; logic lives in Rust.
.PHONY: demo test check suite traffic fuzz bench engine verdicts doc setup

# Sets up, builds, and runs the whole gate on loopback with sample replicas.
demo: setup
	cargo run --release -- demo

# Sets up, and passes every test.
test: setup
	cargo test --workspace

setup:
	@./deploy/setup.sh

# Before each commit.
check:
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --lib

# One part of the black-box suite: make suite T=cache
suite:
	cargo test --test suite -- $(T)

# All legitimate requests and attacks through the gate as shipped for Archon, with tables of what was refused and caught;
# with GATEHOUSE_CRS_DIR set also behind that Core Rule Set. LIST=file: wrong verdicts of the open half, a line each.
traffic:
	GATEHOUSE_TRAFFIC=whole $(if $(LIST),GATEHOUSE_TRAFFIC_LIST=$(LIST)) cargo test --release --test traffic -- archon --include-ignored --nocapture

# Fuzzes one target for a while: make fuzz T=request S=60 (needs cargo-fuzz)
fuzz:
	RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir fuzz $(T) -- -max_total_time=$(S)

# Requests per second beside nginx, in one run: needs nginx and wrk. With CRS=/opt/coreruleset beside nginx with
# ModSecurity too: needs libnginx-mod-http-modsecurity.
bench:
	cargo build --release
	python3 benches/proxy.py $(if $(CRS),--crs $(CRS))

doc:
	cargo doc --workspace --no-deps

# What a transaction costs beside libmodsecurity, on unseen texts: make engine CRS=/opt/coreruleset
engine:
	cargo build --release
	python3 benches/engine.py --crs $(CRS)

# The same verdicts as libmodsecurity: needs libmodsecurity3 and a Core Rule Set: make verdicts CRS=/opt/coreruleset
verdicts:
	cargo build --release
	python3 benches/verdicts.py --crs $(CRS)
