//! The lower that is in an object store: an S3 server in this process.

use overlay_s3::server::{Server, ServerConfig};
use tokio::runtime::Runtime;

use crate::failure::{Failure, Say};
use crate::scale::{self, BIG, Scale};
use crate::site;

const BUCKET: &str = "bucket";

/// A running server that has the second of two lowers.
pub(crate) struct Objects {
    server: Server,
    config: ServerConfig,
    /// The server's threads.
    _runtime: Runtime,
}

impl Objects {
    pub(crate) fn serve(scale: Scale) -> Result<Self, Failure> {
        let runtime = Runtime::new().say("start the threads of the S3 server")?;
        let config = ServerConfig::default();
        let server = runtime.block_on(Server::start(config.clone())).say("start the S3 server")?;
        for (_, name) in scale.small().enumerate().filter(|(i, _)| !site::is_of_first(*i)) {
            server.keys().put(BUCKET, &name, scale::small_content(&name));
        }
        server.keys().put(BUCKET, BIG, scale::big_content(scale));
        Ok(Self { server, config, _runtime: runtime })
    }

    pub(crate) fn url(&self) -> String {
        format!("s3://{BUCKET}?endpoint={}&region=us-east-1", self.server.endpoint())
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", self.config.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.config.secret_key.clone()),
        ]
    }
}
