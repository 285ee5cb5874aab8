//! A plan and the values of the environment, made into a store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::list::PaginatedListStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::error::Words;
use crate::url::{Place, Plan, Reach};
use crate::wire::Connector;

/// The values that a program passes on from its environment.
pub(crate) type Environment = BTreeMap<String, String>;

/// A store and what the layer must know of it.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) lister: Lister,
    pub(crate) words: Words,
}

/// How a store lists keys.
#[derive(Clone)]
pub(crate) enum Lister {
    /// Page by page, with sanitized keys; the store was made with [`Connector`].
    Pages(Arc<dyn PaginatedListStore>),
    /// A whole directory at once, as any store can. The root of a store in directories of this machine is known.
    Directories { root: Option<PathBuf> },
}

impl Store {
    /// A store that a program has already.
    pub(crate) fn whole(objects: Arc<dyn ObjectStore>) -> Self {
        let words = Words { container: "directory", credentials: "the credentials of the store", hint: "" };
        Self { objects, lister: Lister::Directories { root: None }, words }
    }

    fn paged(store: impl ObjectStore + PaginatedListStore, words: Words) -> Self {
        let store = Arc::new(store);
        Self { objects: store.clone(), lister: Lister::Pages(store), words }
    }
}

/// The store of a plan. Nothing is asked of it yet.
pub(crate) fn build(plan: &Plan, environment: &Environment) -> object_store::Result<Store> {
    install_tls();
    let timeout = plan.settings.timeout;
    match &plan.place {
        Place::S3 { bucket } => s3(bucket, &plan.reach, timeout, environment),
        Place::Gcs { bucket } => gcs(bucket, &plan.reach, timeout, environment),
        Place::Azure { container } => azure(container, &plan.reach, timeout, environment),
        Place::File { path } => file(path),
        Place::Memory => Ok(Store::whole(Arc::new(InMemory::new()))),
        Place::Http { origin } => http(origin, timeout),
    }
}

/// object_store's client is built without a provider of cryptography; the process needs one.
fn install_tls() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::trace!("the process has a provider of cryptography already");
    }
}

/// Without keys the role of the machine is asked for; elsewhere than in its cloud nobody answers.
const NO_KEYS: &str = " (AWS_ACCESS_KEY_ID is not set; anonymous=true reads a public bucket without)";

fn s3(bucket: &str, reach: &Reach, timeout: Duration, env: &Environment) -> object_store::Result<Store> {
    const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let endpoint = reach.endpoint.as_ref().or_else(|| ENDPOINTS.iter().find_map(|key| env.get(*key)));
    let mut builder = AmazonS3Builder::new().with_client_options(client(endpoint, reach, timeout));
    for (key, value) in configuration::<AmazonS3ConfigKey>(env, "AWS_", &ENDPOINTS) {
        builder = builder.with_config(key, value);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &reach.region {
        builder = builder.with_region(region);
    }
    if let Some(style) = reach.virtual_hosted_style {
        builder = builder.with_virtual_hosted_style_request(style);
    }
    if reach.anonymous {
        builder = builder.with_skip_signature(true);
    }
    let builder = builder.with_bucket_name(bucket).with_retry(retry(timeout)).with_http_connector(Connector);
    let credentials = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    let hint = if reach.anonymous || env.contains_key("AWS_ACCESS_KEY_ID") { "" } else { NO_KEYS };
    Ok(Store::paged(builder.build()?, Words { container: "bucket", credentials, hint }))
}

fn gcs(bucket: &str, reach: &Reach, timeout: Duration, env: &Environment) -> object_store::Result<Store> {
    let client = client(reach.endpoint.as_ref(), reach, timeout);
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client);
    for (key, value) in configuration::<GoogleConfigKey>(env, "GOOGLE_", &[]) {
        builder = builder.with_config(key, value);
    }
    if let Some(endpoint) = &reach.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    if reach.anonymous {
        builder = builder.with_skip_signature(true);
    }
    let builder = builder.with_bucket_name(bucket).with_retry(retry(timeout)).with_http_connector(Connector);
    let credentials = "GOOGLE_APPLICATION_CREDENTIALS";
    Ok(Store::paged(builder.build()?, Words { container: "bucket", credentials, hint: "" }))
}

fn azure(
    container: &str,
    reach: &Reach,
    timeout: Duration,
    env: &Environment,
) -> object_store::Result<Store> {
    let client = client(reach.endpoint.as_ref(), reach, timeout);
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(client);
    for (key, value) in configuration::<AzureConfigKey>(env, "AZURE_", &[]) {
        builder = builder.with_config(key, value);
    }
    if let Some(endpoint) = &reach.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    if reach.anonymous {
        builder = builder.with_skip_signature(true);
    }
    let builder =
        builder.with_container_name(container).with_retry(retry(timeout)).with_http_connector(Connector);
    let credentials = "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY";
    Ok(Store::paged(builder.build()?, Words { container: "container", credentials, hint: "" }))
}

fn file(path: &Path) -> object_store::Result<Store> {
    let store = Store::whole(Arc::new(LocalFileSystem::new_with_prefix(path)?));
    Ok(Store { lister: Lister::Directories { root: Some(path.to_owned()) }, ..store })
}

fn http(url: &str, timeout: Duration) -> object_store::Result<Store> {
    let options = client(Some(&url.to_owned()), &Reach::default(), timeout);
    let builder = HttpBuilder::new().with_url(url).with_client_options(options);
    let store = builder.with_retry(retry(timeout)).with_http_connector(Connector).build()?;
    let store = Store::whole(Arc::new(store));
    Ok(Store { words: Words { credentials: "that anyone may read it", ..store.words }, ..store })
}

/// The settings that the environment holds for a store; variables that it does not know are other programs'.
fn configuration<K: FromStr>(env: &Environment, prefix: &str, without: &[&str]) -> Vec<(K, String)> {
    env.iter()
        .filter(|(key, _)| key.starts_with(prefix) && !without.contains(&key.as_str()))
        .filter_map(|(key, value)| Some((key.to_ascii_lowercase().parse().ok()?, value.clone())))
        .collect()
}

/// Connections fail early enough that a second try fits into the deadline, and so do servers that stall.
fn client(endpoint: Option<&String>, reach: &Reach, timeout: Duration) -> ClientOptions {
    const CONNECT_MAX: Duration = Duration::from_secs(5);
    const STALL_MIN: Duration = Duration::from_secs(2);
    let is_plain = endpoint.is_some_and(|url| url.starts_with("http://"));
    ClientOptions::new()
        .with_allow_http(reach.allow_http.unwrap_or(is_plain))
        .with_timeout(timeout)
        .with_connect_timeout(CONNECT_MAX.min(timeout / 2))
        .with_read_timeout((timeout / 3).max(STALL_MIN))
}

fn retry(timeout: Duration) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: (timeout / 4).max(Duration::from_millis(200)),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 10, retry_timeout: timeout }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_gives_what_the_store_knows() {
        let env: Environment = [("AWS_REGION", "eu"), ("AWS_VAULT", "x"), ("AWS_ENDPOINT_URL", "http://h")]
            .map(|(key, value)| (key.into(), value.into()))
            .into();
        let found = configuration::<AmazonS3ConfigKey>(&env, "AWS_", &["AWS_ENDPOINT_URL"]);
        assert_eq!(found, [(AmazonS3ConfigKey::Region, "eu".to_owned())]);
    }
}
