//! An S3-compatible server over keys in memory, for demonstrations and tests: listens on the machine itself, checks
//! signatures, keeps nothing.

mod control;
mod keys;
mod objects;
mod s3;
mod uploads;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use self::control::Control;
pub use self::keys::{Keys, Object};

/// Where a [`Server`] listens, and the one key pair that it accepts.
#[derive(Clone)]
pub struct ServerConfig {
    /// The address to listen on; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

impl Default for ServerConfig {
    /// Any port of 127.0.0.1, and a key pair that is no secret.
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { address, access_key: "overlay".into(), secret_key: "overlay-secret".into() }
    }
}

/// A running server. It ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    keys: Arc<Keys>,
    control: Arc<Control>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens and serves, on the tokio runtime of the caller.
    ///
    /// # Errors
    /// What the system says of the address.
    pub async fn start(config: ServerConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let (keys, control) = (Arc::new(Keys::default()), Arc::new(Control::default()));
        let mut builder = S3ServiceBuilder::new(s3::Service::new(keys.clone(), control.clone()));
        builder.set_auth(SimpleAuth::from_single(config.access_key, config.secret_key));
        let task = tokio::spawn(accept(listener, builder.build(), control.clone()));
        Ok(Self { address, keys, control, task })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to give to clients, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The objects, without going through the protocol.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// How often an operation was served, by its S3 name (`ListObjectsV2`, `GetObject`).
    pub fn count(&self, operation: &str) -> u64 {
        self.control.count(operation)
    }

    /// HTTP requests that came in, refused ones and those that wait for [`Server::resume`] included.
    pub fn requests(&self) -> u64 {
        self.control.requests()
    }

    /// From now on connections are accepted and requests are not answered.
    pub fn pause(&self) {
        self.control.pause(true);
    }

    /// Answers again, those that wait first.
    pub fn resume(&self) {
        self.control.pause(false);
    }

    /// Holds every answer back for so long.
    pub fn set_latency(&self, latency: Duration) {
        self.control.set_latency(latency);
    }

    /// Answers the next so many requests with 503, whatever they are.
    pub fn fail(&self, requests: u64) {
        self.control.fail(requests);
    }

    /// Stops listening and cuts all connections. When this returns the port is free.
    pub async fn stop(mut self) {
        self.task.abort();
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            tracing::error!("the server had panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves until it is aborted; the connections' tasks go with it.
async fn accept(listener: TcpListener, service: S3Service, control: Arc<Control>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, service.clone(), control.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The wait after a failed accept (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

async fn connection(stream: TcpStream, service: S3Service, control: Arc<Control>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays with Nagle's algorithm");
    }
    let serve = hyper::service::service_fn(move |request| answer(request, service.clone(), control.clone()));
    let served = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), serve).await;
    if let Err(error) = served {
        tracing::debug!(error, "a connection ended early");
    }
}

async fn answer(
    request: http::Request<hyper::body::Incoming>,
    service: S3Service,
    control: Arc<Control>,
) -> Result<s3s::HttpResponse, Infallible> {
    control.admit().await;
    if control.fails() {
        return Ok(plain(http::StatusCode::SERVICE_UNAVAILABLE));
    }
    let answered = hyper::service::Service::call(&service, request).await;
    Ok(answered.unwrap_or_else(|error| {
        tracing::warn!(?error, "a request failed outside of S3");
        plain(http::StatusCode::INTERNAL_SERVER_ERROR)
    }))
}

fn plain(status: http::StatusCode) -> s3s::HttpResponse {
    let mut response = s3s::HttpResponse::default();
    *response.status_mut() = status;
    response
}
