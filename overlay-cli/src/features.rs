//! What the fuse engine does of what the kernel's options ask for. Pure.

use overlay_core::marker::kernel::Namespace;
use overlay_core::overlay::RedirectDir;

use crate::failure::{Failure, Result};

/// How the fuse engine is to keep what it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    redirect_dir: Option<RedirectDir>,
    /// Copy no data for a change of attributes.
    pub(crate) metacopy: bool,
    /// Keep the hard links of lower files together.
    pub(crate) index: bool,
}

impl Features {
    /// Reads the kernel's options. `why` the fuse engine would serve the union.
    ///
    /// # Errors
    /// For an option that asks for what the fuse engine does not have.
    pub(crate) fn read(options: &[(String, String)], why: &str) -> Result<Self> {
        let mut features = Self::default();
        for (key, value) in options {
            match (key.as_str(), value.as_str()) {
                ("redirect_dir", value) => features.redirect_dir = Some(redirect_dir(value)?),
                ("metacopy", "on") => features.metacopy = true,
                ("index", "on") => features.index = true,
                (_, "off") | ("xino", "auto") => {}
                _ => {
                    let sentence = format!(
                        "the fuse engine does not have {key}={value} yet, and it would serve this: {why}"
                    );
                    return Err(Failure::new(sentence));
                }
            }
        }
        if features.metacopy && features.redirect_dir.is_some_and(|redirects| redirects != RedirectDir::On) {
            let sentence = "metacopy=on needs redirect_dir=on: what is copied up without its data is found by a redirect";
            return Err(Failure::new(sentence));
        }
        Ok(features)
    }

    /// What becomes of redirects. None are followed that are `user.` xattrs, which anybody may set, nor are metacopies.
    ///
    /// # Errors
    /// For options that ask for it nevertheless.
    pub(crate) fn redirect_dir(self, namespace: Namespace) -> Result<RedirectDir> {
        let follows = matches!(self.redirect_dir, Some(RedirectDir::On | RedirectDir::Follow));
        match (namespace, self.redirect_dir) {
            (Namespace::User, _) if follows || self.metacopy => Err(Failure::new(
                "marks are user xattrs here (userxattr), which anybody may set, so that redirect_dir=on, \
                 redirect_dir=follow and metacopy=on are not safe; leave them out",
            )),
            (Namespace::User, _) => Ok(RedirectDir::NoFollow),
            (Namespace::Trusted, asked) => Ok(asked.unwrap_or(RedirectDir::On)),
        }
    }
}

fn redirect_dir(value: &str) -> Result<RedirectDir> {
    match value {
        "on" => Ok(RedirectDir::On),
        "follow" => Ok(RedirectDir::Follow),
        "nofollow" => Ok(RedirectDir::NoFollow),
        "off" => Ok(RedirectDir::Off),
        _ => Err(Failure::new(format!(
            "redirect_dir={value} is none of redirect_dir=on, follow, nofollow and off"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<Features> {
        Features::read(&[(key.into(), value.into())], "so")
    }

    #[test]
    fn redirects_are_on_but_for_marks_that_anybody_may_set() {
        let default = Features::default();
        assert_eq!(default.redirect_dir(Namespace::Trusted).unwrap(), RedirectDir::On);
        assert_eq!(default.redirect_dir(Namespace::User).unwrap(), RedirectDir::NoFollow);
        for (value, expected, is_safe) in [
            ("on", RedirectDir::On, false),
            ("follow", RedirectDir::Follow, false),
            ("nofollow", RedirectDir::NoFollow, true),
            ("off", RedirectDir::Off, true),
        ] {
            let features = read("redirect_dir", value).unwrap();
            assert_eq!(features.redirect_dir(Namespace::Trusted).unwrap(), expected);
            assert_eq!(features.redirect_dir(Namespace::User).is_ok(), is_safe, "{value}");
        }
        assert!(read("metacopy", "on").unwrap().redirect_dir(Namespace::User).is_err());
    }

    #[test]
    fn what_the_engine_does_not_have_is_refused_unless_it_is_off() {
        for (key, value) in [("index", "off"), ("metacopy", "off"), ("xino", "auto"), ("uuid", "off")] {
            assert_eq!(read(key, value).unwrap(), Features::default(), "{key}={value}");
        }
        for (key, value, expected) in [
            ("xino", "on", "does not have xino=on yet, and it would serve this: so"),
            ("uuid", "null", "does not have uuid=null yet"),
            ("redirect_dir", "maybe", "none of redirect_dir=on, follow"),
        ] {
            assert!(read(key, value).unwrap_err().to_string().contains(expected), "{key}={value}");
        }
        assert!(read("metacopy", "on").unwrap().metacopy && read("index", "on").unwrap().index);
        let pair = [("metacopy".into(), "on".into()), ("redirect_dir".into(), "off".into())];
        assert!(Features::read(&pair, "so").unwrap_err().to_string().contains("needs redirect_dir=on"));
    }
}
