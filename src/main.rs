//! The `gatehouse` program: arguments → a command → an exit code.

use std::process::ExitCode;

/// Many small buffers of many sizes, from many threads: what the system's allocator keeps back in fragments.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gatehouse::cli::main()
}
