//! The `authseal` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    authseal::cli::main()
}
