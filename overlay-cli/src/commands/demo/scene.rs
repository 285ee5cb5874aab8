//! What the demonstration is played with: an embedded S3 server with a few objects, and a temporary directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use overlay_s3::server::{Server, ServerConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::tree;
use crate::failure::{Failure, Result};

/// The bucket of the demonstration.
const BUCKET: &str = "demo";

/// What lies in the bucket, below the prefix of the layer.
const OBJECTS: [(&str, &str); 4] = [
    ("site/README.md", "This one lies in the bucket, and nobody sees it.\n"),
    ("site/data/old.csv", "year,sold\n1999,4\n"),
    ("site/data/prices.csv", "fruit,price\napple,3\npear,5\n"),
    ("site/images/logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n"),
];

/// What lies in the directory.
const FILES: [(&str, &str); 2] =
    [("README.md", "This one lies in ./local, on top.\n"), ("conf/site.toml", "title = \"Fruit\"\n")];

/// The files of a layer and their content.
pub(super) type Content = BTreeMap<String, Vec<u8>>;

/// The layers, while the demonstration lasts.
pub(super) struct Scene {
    temp: TempDir,
    runtime: Runtime,
    server: Server,
    config: ServerConfig,
}

impl Scene {
    /// Starts the server, fills the bucket and the directory, and goes there, so that the paths of the commands
    /// are the ones that are shown.
    pub(super) fn new() -> Result<Self> {
        let fail = |error: std::io::Error| Failure::cannot("prepare the demonstration", error);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(fail)?;
        let config = ServerConfig::default();
        let server = runtime.block_on(Server::start(config.clone())).map_err(fail)?;
        for (key, data) in OBJECTS {
            server.keys().put(BUCKET, key, data);
        }
        let temp = tempfile::Builder::new().prefix("overlay-demo-").tempdir().map_err(fail)?;
        fill(temp.path()).map_err(fail)?;
        std::env::set_current_dir(temp.path()).map_err(fail)?;
        Ok(Self { temp, runtime, server, config })
    }

    /// Where it takes place.
    pub(super) fn path(&self) -> &Path {
        self.temp.path()
    }

    /// The layer in the bucket.
    pub(super) fn url(&self) -> String {
        format!("s3://{BUCKET}/site?endpoint={}", self.server.endpoint())
    }

    /// The variables that a user of the bucket sets.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let (key, secret) = (&self.config.access_key, &self.config.secret_key);
        vec![("AWS_ACCESS_KEY_ID".into(), key.clone()), ("AWS_SECRET_ACCESS_KEY".into(), secret.clone())]
    }

    /// All that the layers hold now: the directory's files and the bucket's objects, byte for byte.
    pub(super) fn lowers(&self) -> Result<(Content, Content)> {
        let keys = self.server.keys();
        let object = |key: String| {
            let data = keys.get(BUCKET, &key).map(|object| object.data.to_vec());
            (key, data.unwrap_or_default())
        };
        let objects = keys.list(BUCKET).into_iter().map(object).collect();
        Ok((tree::content(&self.path().join("local"))?, objects))
    }

    /// Ends the server and removes the directory.
    pub(super) fn clear(self) -> Result<()> {
        let fail = |error: std::io::Error| Failure::cannot("clear the demonstration away", error);
        self.runtime.block_on(self.server.stop());
        std::env::set_current_dir("/").map_err(fail)?;
        self.temp.close().map_err(fail)
    }
}

fn fill(path: &Path) -> std::io::Result<()> {
    for name in ["local", "upper", "work", "merged"] {
        fs::create_dir(path.join(name))?;
    }
    for (name, data) in FILES {
        let file = path.join("local").join(name);
        fs::create_dir_all(file.parent().unwrap_or(path))?;
        fs::write(file, data)?;
    }
    Ok(())
}
