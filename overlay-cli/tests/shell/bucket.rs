//! A bucket in an S3-compatible server of this process, and a shell that has its keys.

use overlay_s3::server::{Server, ServerConfig};
use tokio::runtime::Runtime;

use super::Shell;

/// The server; it ends with the process, or when it is stopped.
pub struct Store {
    pub runtime: Runtime,
    pub server: Server,
}

impl Store {
    /// Starts a server with an empty bucket named `bucket`, and a shell with the credentials.
    pub fn start() -> (Self, Shell) {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(Server::start(ServerConfig::default())).unwrap();
        server.keys().create_bucket("bucket");
        let mut shell = Shell::new();
        let config = ServerConfig::default();
        shell.set("AWS_ACCESS_KEY_ID", &config.access_key).set("AWS_SECRET_ACCESS_KEY", &config.secret_key);
        (Self { runtime, server }, shell)
    }

    /// The URL of a layer.
    pub fn url(&self, address: &str, options: &str) -> String {
        format!("s3://{address}?endpoint={}&region=us-east-1{options}", self.server.endpoint())
    }

    pub fn stop(self) {
        self.runtime.block_on(self.server.stop());
    }
}
