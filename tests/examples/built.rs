//! Programs of `examples`.

use std::env;
use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Runs a program, and ends it at the end of its own input, also if the test dies. The program has no input.
const LEASH: &str = r#""$@" </dev/null & program=$!; read -r _; kill "$program" 2>/dev/null; wait"#;

/// An example that runs. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Example {
    process: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Example {
    /// One that ends with its input.
    pub(crate) fn reader(name: &str, database_url: &str) -> Self {
        Self::start(Command::new(program(name)), database_url)
    }

    /// One that would run for ever.
    pub(crate) fn service(name: &str, database_url: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", LEASH, "leash"]).arg(program(name)).args(arguments);
        Self::start(command, database_url)
    }

    fn start(mut command: Command, database_url: &str) -> Self {
        command.env("DATABASE_URL", database_url).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("an example");
        let output = process.stdout.take().expect("its output");
        Example { input: process.stdin.take(), output: BufReader::new(output).lines(), process }
    }

    pub(crate) fn input(&mut self) -> &mut ChildStdin {
        self.input.as_mut().expect("its input")
    }

    /// For a thread that writes while another one reads. The example ends with it.
    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.input.take().expect("its input")
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        self.output.next().expect("it printed nothing more").expect("its output")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}

/// The program of an example. `cargo test --test examples` alone would not build it.
fn program(name: &str) -> PathBuf {
    let test = env::current_exe().expect("this test's program");
    let profile = test.ancestors().nth(2).expect("target/debug");
    if let Some(cargo) = env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--locked", "--all-features", "--example", name, "--target-dir"]);
        build.arg(profile.parent().expect("target")).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo").success(), "cargo does not build the example {name}");
    }
    profile.join("examples").join(name)
}
