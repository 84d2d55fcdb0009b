//! Several Redis of one test's own that replace each other: one with replicas, watched by sentinels, and a cluster of six.
//! They end with the test.

use crate::port::free_port;
use crate::spawn::until;
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);

/// One of them, whose files outlive a kill.
pub(crate) struct Node {
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    child: Child,
}

impl Node {
    fn start(settings: Vec<String>) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let child = run(folder.path().into(), port, &settings);
        Self { folder, port, settings, child }
    }

    fn start_again(&mut self) {
        self.child = run(self.folder.path().into(), self.port, &self.settings);
    }

    /// Ends it, or makes it silent: then its connections stay, and nothing comes back.
    fn fail(&mut self, silently: bool) {
        match silently {
            true => self.signal(Signal::STOP),
            false => self.kill(),
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(folder: PathBuf, port: u16, settings: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    // What is to be read from a file comes first.
    if let Some(file) = settings.first().filter(|first| first.ends_with(".conf")) {
        command.arg(folder.join(file)).arg("--sentinel");
    } else {
        command.args(settings).args(["--save", "", "--appendonly", "yes"]);
    }
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(folder);
    command.stdout(Stdio::null()).spawn().expect("redis-server starts (Debian package redis-server)")
}

fn cli(port: u16, arguments: &[&str]) -> String {
    let done = Command::new("redis-cli").args(["-p", &port.to_string()]).args(arguments).output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

async fn answers(port: u16) {
    until(SOON, async || cli(port, &["PING"]).contains("PONG")).await;
}

/// Servers of which one may be killed.
pub(crate) enum Fleet {
    Sentinels { nodes: Vec<Node>, sentinels: Vec<Node> },
    Cluster(Vec<Node>),
}

impl Fleet {
    pub(crate) async fn with_sentinels() -> Self {
        let primary = Node::start(Vec::new());
        answers(primary.port).await;
        let of = |port: u16| {
            ["--replicaof", "127.0.0.1", &port.to_string(), "--repl-diskless-sync-delay", "0"]
                .map(str::to_owned)
                .to_vec()
        };
        let nodes = vec![Node::start(of(primary.port)), Node::start(of(primary.port)), primary];
        let port = nodes[2].port;
        for node in &nodes {
            answers(node.port).await;
        }
        until(SOON, async || cli(port, &["INFO", "replication"]).matches("state=online").count() == 2).await;
        let sentinel = || {
            let (folder, own) = (tempfile::tempdir().unwrap(), free_port());
            let text = format!(
                "sentinel monitor main 127.0.0.1 {port} 2\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 4000\n"
            );
            std::fs::write(folder.path().join("sentinel.conf"), text).unwrap();
            let settings = vec!["sentinel.conf".to_owned()];
            let child = run(folder.path().into(), own, &settings);
            Node { folder, port: own, settings, child }
        };
        let fleet = Self::Sentinels { nodes, sentinels: (0..3).map(|_| sentinel()).collect() };
        fleet.whole().await;
        fleet
    }

    pub(crate) async fn cluster() -> Self {
        let node = |_| {
            let bus = free_port().to_string();
            let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-port", &bus];
            Node::start(settings.map(str::to_owned).to_vec())
        };
        let nodes: Vec<_> = (0..6).map(node).collect();
        for node in &nodes {
            answers(node.port).await;
        }
        let addresses: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(&addresses).args(["--cluster-replicas", "1", "--cluster-yes"]);
        let done = create.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        let fleet = Self::Cluster(nodes);
        fleet.whole().await;
        fleet
    }

    /// What `state.store` says.
    pub(crate) fn url(&self) -> String {
        let list =
            |nodes: &[Node]| nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect::<Vec<_>>().join(",");
        match self {
            Self::Sentinels { sentinels, .. } => format!("redis+sentinel://{}/main/0", list(sentinels)),
            // One that may be killed is not the only one that is named.
            Self::Cluster(nodes) => format!("redis+cluster://{}", list(&nodes[..3])),
        }
    }

    /// How many times all of them were given a command, those that sent it elsewhere too.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let (Self::Sentinels { nodes, .. } | Self::Cluster(nodes)) = self;
        let told = nodes.iter().map(|node| cli(node.port, &["INFO", "commandstats"])).collect::<String>();
        let lines =
            told.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.strip_prefix(command)?.strip_prefix(':'));
        let counts = lines.flat_map(|line| line.trim_end().split(',').filter_map(|count| count.split_once('=')));
        let calls = counts.filter(|(name, _)| ["calls", "rejected_calls"].contains(name));
        calls.map(|(_, count)| count.parse::<u64>().unwrap()).sum()
    }

    /// Takes a primary away, of a cluster another one each time: one time it is killed, the next time it goes silent.
    pub(crate) fn lose_a_primary(&mut self, number: usize) {
        let silently = number % 2 == 1;
        match self {
            Self::Sentinels { nodes, sentinels } => {
                let told = cli(sentinels[0].port, &["SENTINEL", "get-master-addr-by-name", "main"]);
                let port: u16 = told.lines().nth(1).unwrap().parse().unwrap();
                nodes.iter_mut().find(|node| node.port == port).unwrap().fail(silently);
            }
            Self::Cluster(nodes) => {
                let primaries: Vec<_> =
                    nodes.iter().map(|node| cli(node.port, &["ROLE"]).starts_with("master")).collect();
                let mut primaries = nodes.iter_mut().zip(primaries).filter(|(_, is)| *is);
                primaries.nth(number % 3).unwrap().0.fail(silently);
            }
        }
    }

    /// Starts what was killed, lets continue what went silent, and waits until all of them are as they should be.
    pub(crate) async fn heal(&mut self) {
        let (Self::Sentinels { nodes, .. } | Self::Cluster(nodes)) = self;
        for node in nodes {
            if node.child.try_wait().unwrap().is_some() {
                node.start_again();
                answers(node.port).await;
            } else {
                node.signal(Signal::CONT);
            }
        }
        self.whole().await;
    }

    async fn whole(&self) {
        until(SOON, async || match self {
            Self::Sentinels { sentinels, nodes } => {
                let told = |node: &Node| cli(node.port, &["SENTINEL", "master", "main"]);
                let healthy = |told: String| {
                    let lines: Vec<_> = told.lines().collect();
                    let value = |key| lines.iter().position(|line| *line == key).map(|at| lines[at + 1]);
                    value("flags") == Some("master")
                        && value("num-other-sentinels") == Some("2")
                        && value("num-slaves") == Some("2")
                };
                let roles = |role| nodes.iter().filter(|node| cli(node.port, &["ROLE"]).starts_with(role)).count();
                let online = || {
                    nodes
                        .iter()
                        .any(|node| cli(node.port, &["INFO", "replication"]).matches("state=online").count() == 2)
                };
                sentinels.iter().all(|node| healthy(told(node))) && roles("master") == 1 && online()
            }
            Self::Cluster(nodes) => nodes.iter().all(|node| {
                let told = cli(node.port, &["CLUSTER", "NODES"]);
                let info = cli(node.port, &["INFO", "replication"]);
                cli(node.port, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && !told.contains("fail")
                    && told.matches("slave").count() == 3
                    && (info.contains("state=online") || info.contains("master_link_status:up"))
            }),
        })
        .await;
    }
}
