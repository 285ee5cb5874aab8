//! What a user types for an object store, read into a plan: no store is touched here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use overlay_core::error::{Error, Kind, Result};
use overlay_core::spec::LayerSpec;

/// The schemes that [`ObjectOpener`](crate::ObjectOpener) opens.
pub const SCHEMES: &[&str] = &["s3", "gs", "az", "file", "memory", "http", "https"];

/// How a layer shows objects, and how long it waits for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
    /// Permission bits of files.
    pub file_mode: u32,
    /// Permission bits of directories.
    pub dir_mode: u32,
    /// The overall deadline of one request with all its retries.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { uid: 0, gid: 0, file_mode: 0o644, dir_mode: 0o755, timeout: Duration::from_secs(30) }
    }
}

/// Where the objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    S3 {
        bucket: String,
    },
    Gcs {
        bucket: String,
    },
    Azure {
        container: String,
    },
    File {
        path: PathBuf,
    },
    Memory,
    /// The server alone: object_store's WebDAV paths count from its root.
    Http {
        origin: String,
    },
}

/// How to reach them; what is `None` is left to the environment and to defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) allow_http: Option<bool>,
    pub(crate) virtual_hosted_style: Option<bool>,
    pub(crate) anonymous: bool,
}

/// A layer's name, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) place: Place,
    /// Without a slash at either end.
    pub(crate) prefix: String,
    pub(crate) label: Arc<str>,
    pub(crate) reach: Reach,
    pub(crate) settings: Settings,
}

const COMMON: [&str; 5] = ["uid", "gid", "file_mode", "dir_mode", "timeout"];
const CLOUD: [&str; 3] = ["endpoint", "allow_http", "anonymous"];
const S3_ONLY: [&str; 2] = ["region", "virtual_hosted_style"];

/// Options that hold a secret, and the variable that takes their place: a URL ends up in `ps`, in `fstab`, in logs.
const SECRETS: [(&str, &str); 12] = [
    ("access_key_id", "AWS_ACCESS_KEY_ID"),
    ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("session_token", "AWS_SESSION_TOKEN"),
    ("token", "AWS_SESSION_TOKEN"),
    ("service_account_key", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    ("service_account", "GOOGLE_SERVICE_ACCOUNT"),
    ("bearer_token", "GOOGLE_BEARER_TOKEN"),
    ("account_key", "AZURE_STORAGE_ACCOUNT_KEY"),
    ("access_key", "AZURE_STORAGE_ACCESS_KEY"),
    ("sas", "AZURE_STORAGE_SAS_TOKEN"),
    ("sas_token", "AZURE_STORAGE_SAS_TOKEN"),
    ("client_secret", "AZURE_STORAGE_CLIENT_SECRET"),
];

/// The longest deadline, seconds; a typing error in milliseconds should not hang a mount for hours.
const TIMEOUT_MAX: u64 = 3600;

/// Reads a spec.
///
/// # Errors
/// `Invalid` for an unknown scheme or option, an option that holds a secret, a value that makes no sense.
pub(crate) fn plan(spec: &LayerSpec) -> Result<Plan> {
    refuse_secrets(spec)?;
    let mut spec = spec.clone();
    let (place, prefix) = place(&spec)?;
    let settings = settings(&mut spec)?;
    let reach = reach(&mut spec, &place)?;
    spec.finish(&known(&place))?;
    Ok(Plan { place, prefix, label: spec.to_string().into(), reach, settings })
}

fn refuse_secrets(spec: &LayerSpec) -> Result<()> {
    for (option, _) in spec.options() {
        let bare = ["aws_", "google_", "azure_storage_", "azure_"]
            .iter()
            .find_map(|prefix| option.strip_prefix(prefix))
            .unwrap_or(option);
        if let Some((_, variable)) = SECRETS.iter().find(|(secret, _)| *secret == bare) {
            let sentence = format!("\"{option}\" does not belong in a URL, set the variable {variable}");
            return Err(invalid(spec, &sentence));
        }
    }
    Ok(())
}

fn place(spec: &LayerSpec) -> Result<(Place, String)> {
    let address =
        std::str::from_utf8(spec.address()).map_err(|_| invalid(spec, "the address is not UTF-8"))?;
    match spec.scheme() {
        "s3" => bucket(spec, address).map(|(bucket, prefix)| (Place::S3 { bucket }, prefix)),
        "gs" => bucket(spec, address).map(|(bucket, prefix)| (Place::Gcs { bucket }, prefix)),
        "az" => bucket(spec, address).map(|(container, prefix)| (Place::Azure { container }, prefix)),
        "file" => Ok((Place::File { path: file_path(spec, address)? }, String::new())),
        "memory" => Ok((Place::Memory, prefix(spec, address)?)),
        scheme @ ("http" | "https") => {
            http(spec, scheme, address).map(|(origin, prefix)| (Place::Http { origin }, prefix))
        }
        other => Err(invalid(spec, &format!("{other}:// is no object store"))),
    }
}

/// `bucket/prefix`, taken literally: a `%` of a key is a `%`.
fn bucket(spec: &LayerSpec, address: &str) -> Result<(String, String)> {
    let (bucket, rest) = address.split_once('/').unwrap_or((address, ""));
    if bucket.is_empty() || bucket.contains('@') {
        return Err(invalid(spec, &format!("the form is {}://bucket/prefix", spec.scheme())));
    }
    Ok((bucket.to_owned(), prefix(spec, rest)?))
}

fn prefix(spec: &LayerSpec, text: &str) -> Result<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let illegal = |segment: &str| {
        matches!(segment, "" | "." | "..") || segment.bytes().any(|byte| byte.is_ascii_control())
    };
    if !text.is_empty() && text.split('/').any(illegal) {
        return Err(invalid(spec, "the prefix has an empty segment, \".\", \"..\" or a control character"));
    }
    Ok(text.to_owned())
}

fn file_path(spec: &LayerSpec, address: &str) -> Result<PathBuf> {
    let url =
        url::Url::parse(&format!("file://{address}")).map_err(|error| invalid(spec, &error.to_string()))?;
    let path = url.to_file_path().ok().filter(|_| address.starts_with('/'));
    path.ok_or_else(|| invalid(spec, "the form is file:///directory"))
}

fn http(spec: &LayerSpec, scheme: &str, address: &str) -> Result<(String, String)> {
    let text = format!("{scheme}://{address}");
    let url = url::Url::parse(&text).map_err(|error| invalid(spec, &error.to_string()))?;
    if has_password(&url) {
        return Err(Error::new(Kind::Invalid, "layer").because("a URL must hold no user and no password"));
    }
    let path = url.path().strip_prefix('/').unwrap_or_default();
    // The library's own reading of a URL's path: percent-decoded, and a legal path.
    let path =
        object_store::path::Path::from_url_path(path).map_err(|_| invalid(spec, "the path is illegal"))?;
    Ok((url.origin().ascii_serialization(), path.to_string()))
}

fn has_password(url: &url::Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn settings(spec: &mut LayerSpec) -> Result<Settings> {
    let default = Settings::default();
    let timeout = number(spec, "timeout", 10, TIMEOUT_MAX)?;
    if timeout == Some(0) {
        return Err(invalid(spec, "timeout=0 would fail every request"));
    }
    Ok(Settings {
        uid: id(spec, "uid")?.unwrap_or(default.uid),
        gid: id(spec, "gid")?.unwrap_or(default.gid),
        file_mode: mode(spec, "file_mode")?.unwrap_or(default.file_mode),
        dir_mode: mode(spec, "dir_mode")?.unwrap_or(default.dir_mode),
        timeout: timeout.map_or(default.timeout, Duration::from_secs),
    })
}

fn reach(spec: &mut LayerSpec, place: &Place) -> Result<Reach> {
    let mut reach = Reach::default();
    if is_cloud(place) {
        reach.endpoint = spec.take("endpoint").map(|text| endpoint(spec, text)).transpose()?;
        reach.allow_http = flag(spec, "allow_http")?;
        reach.anonymous = flag(spec, "anonymous")?.unwrap_or(false);
    }
    if matches!(place, Place::S3 { .. }) {
        reach.region = spec.take("region");
        reach.virtual_hosted_style = flag(spec, "virtual_hosted_style")?;
    }
    Ok(reach)
}

fn is_cloud(place: &Place) -> bool {
    matches!(place, Place::S3 { .. } | Place::Gcs { .. } | Place::Azure { .. })
}

fn known(place: &Place) -> Vec<&'static str> {
    let mut known = COMMON.to_vec();
    if is_cloud(place) {
        known.extend(CLOUD);
    }
    if matches!(place, Place::S3 { .. }) {
        known.extend(S3_ONLY);
    }
    known
}

fn endpoint(spec: &LayerSpec, text: String) -> Result<String> {
    let url = url::Url::parse(&text).map_err(|_| invalid(spec, "endpoint is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") || has_password(&url) {
        return Err(invalid(spec, "endpoint must be http:// or https://, without user and password"));
    }
    Ok(text)
}

fn flag(spec: &mut LayerSpec, key: &str) -> Result<Option<bool>> {
    match spec.take(key).as_deref() {
        None => Ok(None),
        Some("true" | "1" | "") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(invalid(spec, &format!("{key} must be true or false"))),
    }
}

fn id(spec: &mut LayerSpec, key: &str) -> Result<Option<u32>> {
    // The highest number means "unchanged" to chown.
    let value = number(spec, key, 10, u64::from(u32::MAX - 1))?;
    Ok(value.map(|value| value as u32))
}

fn mode(spec: &mut LayerSpec, key: &str) -> Result<Option<u32>> {
    Ok(number(spec, key, 8, 0o7777)?.map(|value| value as u32))
}

fn number(spec: &mut LayerSpec, key: &str, radix: u32, max: u64) -> Result<Option<u64>> {
    let Some(text) = spec.take(key) else { return Ok(None) };
    let value = u64::from_str_radix(&text, radix).ok().filter(|value| *value <= max);
    match value {
        Some(value) => Ok(Some(value)),
        None if radix == 8 => Err(invalid(spec, &format!("{key} must be an octal number up to {max:o}"))),
        None => Err(invalid(spec, &format!("{key} must be a number up to {max}"))),
    }
}

fn invalid(spec: &LayerSpec, sentence: &str) -> Error {
    Error::new(Kind::Invalid, "layer").because(format!("{spec}: {sentence}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Plan> {
        plan(&LayerSpec::parse(text).unwrap())
    }

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn places_and_prefixes() {
        let s3 = |bucket: &str| Place::S3 { bucket: bucket.into() };
        for (text, place, prefix) in [
            ("s3://b", s3("b"), ""),
            ("s3://b/", s3("b"), ""),
            ("s3://b/a/b c%20/", s3("b"), "a/b c%20"),
            ("gs://b/p", Place::Gcs { bucket: "b".into() }, "p"),
            ("az://c/p", Place::Azure { container: "c".into() }, "p"),
            ("file:///a%20b", Place::File { path: "/a b".into() }, ""),
            ("memory://", Place::Memory, ""),
            ("memory://p", Place::Memory, "p"),
            ("http://h:1/d%20e/f/", Place::Http { origin: "http://h:1".into() }, "d e/f"),
            ("https://h", Place::Http { origin: "https://h".into() }, ""),
        ] {
            let plan = parse(text).unwrap();
            assert_eq!((plan.place, plan.prefix.as_str()), (place, prefix), "{text}");
        }
    }

    #[test]
    fn options_are_read_and_the_label_has_none() {
        let plan = parse(
            "s3://b/p?endpoint=http://h:9&region=eu&virtual_hosted_style=false&uid=1&gid=2&file_mode=0600\
             &dir_mode=700&timeout=5&anonymous=true",
        )
        .unwrap();
        let settings =
            Settings { uid: 1, gid: 2, file_mode: 0o600, dir_mode: 0o700, timeout: Duration::from_secs(5) };
        assert_eq!(plan.settings, settings);
        assert_eq!(plan.reach.endpoint.as_deref(), Some("http://h:9"));
        assert_eq!(plan.reach.region.as_deref(), Some("eu"));
        assert_eq!((plan.reach.virtual_hosted_style, plan.reach.anonymous), (Some(false), true));
        assert_eq!(&*plan.label, "s3://b/p");
    }

    #[test]
    fn secrets_are_refused_with_the_variable_and_not_repeated() {
        for (option, variable) in [
            ("access_key_id", "AWS_ACCESS_KEY_ID"),
            ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
            ("token", "AWS_SESSION_TOKEN"),
            ("sas", "AZURE_STORAGE_SAS_TOKEN"),
            ("google_service_account_key", "GOOGLE_SERVICE_ACCOUNT_KEY"),
        ] {
            let text = refusal(&format!("s3://b?{option}=hunter2"));
            assert!(text.contains(variable) && !text.contains("hunter2"), "{text}");
        }
        for text in ["http://user:hunter2@h/", "s3://b?endpoint=http://u:hunter2@h"] {
            let text = refusal(text);
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "s3://",
            "s3:///p",
            "s3://b//p",
            "s3://b/a/../c",
            "s3://b/a//",
            "file://dir",
            "ftp://x",
            "s3://b?timeout=0",
            "s3://b?timeout=x",
            "s3://b?uid=-1",
            "s3://b?uid=4294967295",
            "s3://b?file_mode=9",
            "s3://b?dir_mode=10000",
            "s3://b?anonymous=maybe",
            "s3://b?endpoint=x",
            "file:///d?region=x",
            "gs://b?region=x",
            "http://",
        ] {
            assert_eq!(parse(text).unwrap_err().kind(), Kind::Invalid, "{text}");
        }
        let text = refusal("s3://b?nope=1");
        assert!(text.contains("nope") && text.contains("endpoint") && text.contains("region"), "{text}");
    }
}
