//! The command line. Exit codes: 0 ok, 1 a fault was found, 2 wrong usage.

mod check;
mod demo;
mod demo_replica;
mod policy;
mod rules;
mod run;
mod tune;
mod upgrade;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// An edge reverse proxy and web application firewall.
#[derive(Debug, Parser)]
#[command(name = "gatehouse", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the whole gate on loopback with three sample replicas and nothing configured.
    ///
    /// Makes its own development certificate, keeps its state and the audit file in a temporary folder, and prints what
    /// to try. Ctrl-C ends it.
    Demo {
        /// Port of the TLS listener.
        #[arg(long, default_value_t = 8443, env = "GATEHOUSE_TLS_PORT")]
        tls_port: u16,
        /// Port of the plain listener, which redirects to the TLS listener.
        #[arg(long, default_value_t = 8080, env = "GATEHOUSE_HTTP_PORT")]
        http_port: u16,
        /// Port of the admin listener.
        #[arg(long, default_value_t = 9180, env = "GATEHOUSE_ADMIN_PORT")]
        admin_port: u16,
        /// Where the configuration, the certificate and the audit file of the demo are put.
        #[arg(long, default_value = "/tmp/gatehouse-demo")]
        dir: PathBuf,
    },
    /// Runs the gate in the foreground.
    ///
    /// SIGHUP reloads the configuration and everything it names; so does a change of any of these files. SIGUSR2 hands
    /// over to a new process, as `gatehouse upgrade` does. SIGTERM and SIGINT stop accepting, let requests in flight end,
    /// and exit with 0; a second one ends at once.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Hands a running gate over to a new process: another binary, another configuration, or both.
    ///
    /// The new process takes the listening sockets; the old one drains once the new one serves. Waits for the outcome.
    /// If the new process does not come to serve, the old one goes on, what is wrong is printed, and the exit code is 1.
    Upgrade {
        /// The configuration of the running gate, and of the new process.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The program to start, in place of the one that runs as it now is on disk.
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
    },
    /// Loads everything a configuration names without listening, and says what is wrong and how to mend it.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Also prints the configuration with every default filled in, secrets masked.
        #[arg(long)]
        effective: bool,
    },
    /// The rule engine alone: checks, tests, explains and times rules.
    #[command(subcommand)]
    Rules(rules::Command),
    /// Field policies alone: checks, shows and drafts them.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Proposes the narrowest changes that end false refusals, each with proof of what it would let through.
    ///
    /// Reads audit events, groups what was refused by operation (or path) and field, and proposes for each field a class
    /// in the policy, or rules that no longer look at it; never a rule taken out whole. Each proposal is proved: the
    /// recorded requests, a suite of attacks, and attack values in that very field and beside it, are judged with the
    /// change and without it. What loses detections in other fields is not proposed.
    Tune(tune::Options),
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo { tls_port, http_port, admin_port, dir } => {
            demo::run(&demo::Ports { tls: tls_port, http: http_port, admin: admin_port }, &dir)
        }
        Command::Run { config } => run::run(&config),
        Command::Upgrade { config, binary } => upgrade::run(&config, binary.as_deref()),
        Command::Rules(command) => rules::run(command),
        Command::Policy(command) => policy::run(command),
        Command::Tune(options) => tune::run(&options),
        Command::Check { config, effective } => check::run(&config, effective, crate::server::verify),
    }
}
