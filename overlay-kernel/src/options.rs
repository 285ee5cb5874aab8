//! The options of overlayfs: which there are, what values they take, which do not go together. Pure.
//!
//! The facts are those of Linux 6.18 (`fs/overlayfs/params.c`, each tried); what older kernels refuse beyond that they
//! say themselves.

use crate::plan::{Refusal, Setting};

/// The values that an option takes.
enum Takes {
    Nothing,
    One(&'static [&'static str]),
    Anything,
}

const SWITCH: Takes = Takes::One(&["on", "off"]);

const OPTIONS: &[(&str, Takes)] = &[
    ("redirect_dir", Takes::One(&["on", "off", "follow", "nofollow"])),
    ("index", SWITCH),
    ("metacopy", SWITCH),
    ("nfs_export", SWITCH),
    ("xino", Takes::One(&["on", "off", "auto"])),
    ("uuid", Takes::One(&["on", "off", "null", "auto"])),
    ("verity", Takes::One(&["on", "off", "require"])),
    ("fsync", Takes::One(&["auto", "strict", "volatile"])),
    ("volatile", Takes::Nothing),
    ("userxattr", Takes::Nothing),
    ("default_permissions", Takes::Nothing),
    ("override_creds", Takes::Nothing),
    ("nooverride_creds", Takes::Nothing),
    ("context", Takes::Anything),
    ("fscontext", Takes::Anything),
    ("defcontext", Takes::Anything),
    ("rootcontext", Takes::Anything),
];

/// Whether a security module reads the option, not overlayfs.
pub(crate) fn is_label(key: &str) -> bool {
    key.ends_with("context")
}

/// The options that somebody gave; of an option given twice the last counts, as for the kernel.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a>(pub(crate) &'a [(String, Option<String>)]);

impl Given<'_> {
    pub(crate) fn has(self, key: &str) -> bool {
        self.0.iter().any(|(option, _)| option == key)
    }

    fn is(self, key: &str, value: &str) -> bool {
        let last = self.0.iter().rfind(|(option, _)| option == key);
        last.is_some_and(|(_, given)| given.as_deref() == Some(value))
    }

    /// Whether metacopy files are verified, for which the kernel wants a say in metacopy.
    fn verifies(self) -> bool {
        self.is("verity", "on") || self.is("verity", "require")
    }

    /// Refuses what the kernel does not know or would refuse.
    pub(crate) fn check(self, upper: bool) -> Result<(), Refusal> {
        for (key, value) in self.0 {
            check_value(key, value.as_deref())?;
        }
        match self.conflict(upper) {
            Some((one, other, instead)) => Err(Refusal::Conflict { one, other, instead }),
            None => Ok(()),
        }
    }

    fn conflict(self, upper: bool) -> Option<(String, String, &'static str)> {
        let metacopy = self.is("metacopy", "on");
        let conflict = |one: &str, other: &str, instead| Some((one.to_owned(), other.to_owned(), instead));
        if self.has("userxattr") {
            if let Some(value) = ["on", "follow"].into_iter().find(|value| self.is("redirect_dir", value)) {
                let instead = "user attributes are not trusted to redirect; leave redirect_dir out";
                return conflict("userxattr", &format!("redirect_dir={value}"), instead);
            }
            if metacopy {
                let instead = "user attributes are not trusted to redirect; leave metacopy out";
                return conflict("userxattr", "metacopy=on", instead);
            }
        }
        // Without an upper, `off` and `follow` both follow, which is all that metacopy needs there.
        let unfit: &[_] = if upper { &["off", "follow", "nofollow"] } else { &["nofollow"] };
        if let Some(value) = unfit.iter().find(|value| metacopy && self.is("redirect_dir", value)) {
            let instead = "what is copied up without its data is found by a redirect; use redirect_dir=on";
            return conflict("metacopy=on", &format!("redirect_dir={value}"), instead);
        }
        let exported = upper && self.is("nfs_export", "on");
        if exported && self.is("index", "off") {
            return conflict(
                "nfs_export=on",
                "index=off",
                "file handles are looked up in the index; use index=on",
            );
        }
        if exported && metacopy {
            return conflict("nfs_export=on", "metacopy=on", "use one of the two");
        }
        None
    }

    /// What the kernel is told of the options: those given, then those that are better said than left to how the
    /// kernel was built.
    pub(crate) fn settings(self, upper: bool, data: bool) -> Vec<Setting> {
        let given = self.0.iter().map(|(key, value)| self.setting(key, value.as_deref()));
        let unasked = self.unasked(upper, data).into_iter();
        let unasked = unasked.map(|(key, value)| Setting::Text(key.into(), value.into()));
        given.chain(unasked).collect()
    }

    fn setting(self, key: &str, value: Option<&str>) -> Setting {
        match (key, value) {
            // The same to the user; but `off` may still follow, which the kernel does not allow with `userxattr`.
            ("redirect_dir", Some("off")) if self.has("userxattr") => {
                Setting::Text(key.into(), "nofollow".into())
            }
            (_, None) => Setting::Flag(key.into()),
            (_, Some(value)) => Setting::Text(key.into(), value.into()),
        }
    }

    /// With an upper, renamed directories are redirected and files copied up whole, whatever the kernel's own defaults:
    /// every engine then finds what it can read. Data-only layers are reached by metacopy files, which Linux before
    /// 6.16 reads only with `metacopy=on`.
    fn unasked(self, upper: bool, data: bool) -> Vec<(&'static str, &'static str)> {
        let mut unasked = Vec::new();
        if self.has("userxattr") {
            return unasked;
        }
        if upper && !self.has("redirect_dir") {
            unasked.push(("redirect_dir", "on"));
        }
        if upper && !self.has("metacopy") && !self.verifies() {
            unasked.push(("metacopy", "off"));
        }
        let touched = ["metacopy", "redirect_dir", "nfs_export", "verity"].iter().any(|key| self.has(key));
        if !upper && data && !touched {
            unasked.push(("metacopy", "on"));
        }
        unasked
    }
}

fn check_value(key: &str, value: Option<&str>) -> Result<(), Refusal> {
    let Some((_, takes)) = OPTIONS.iter().find(|(option, _)| *option == key) else {
        let known: Vec<_> = OPTIONS.iter().map(|(option, _)| *option).collect();
        return Err(Refusal::UnknownOption { key: key.into(), known: known.join(", ") });
    };
    match (takes, value) {
        (Takes::Nothing, None) | (Takes::Anything, Some(_)) => Ok(()),
        (Takes::One(valid), Some(value)) if valid.contains(&value) => Ok(()),
        (Takes::Nothing, Some(_)) => Err(Refusal::NeedlessValue { key: key.into() }),
        (Takes::Anything, None) => Err(Refusal::MissingValue { key: key.into() }),
        (Takes::One(valid), value) => Err(Refusal::BadValue {
            key: key.into(),
            value: value.unwrap_or("nothing").into(),
            valid: valid.join(", "),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    type Options = Vec<(String, Option<String>)>;

    /// Every option with each of its values, but those of security modules.
    pub(crate) fn every() -> Options {
        let values = |(key, takes): &(&str, Takes)| -> Options {
            match takes {
                Takes::Nothing => vec![((*key).into(), None)],
                Takes::One(valid) => {
                    valid.iter().map(|value| ((*key).into(), Some((*value).into()))).collect()
                }
                Takes::Anything => vec![],
            }
        };
        OPTIONS.iter().flat_map(values).collect()
    }

    fn options(text: &str) -> Options {
        let option = |option: &str| match option.split_once('=') {
            Some((key, value)) => (key.into(), Some(value.into())),
            None => (option.into(), None),
        };
        text.split(',').filter(|option| !option.is_empty()).map(option).collect()
    }

    fn sentence(text: &str, upper: bool) -> Option<String> {
        Given(&options(text)).check(upper).err().map(|refusal| refusal.to_string())
    }

    fn unasked(text: &str, upper: bool, data: bool) -> String {
        let unasked = Given(&options(text)).unasked(upper, data);
        unasked.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn every_option_with_each_value_is_good_alone() {
        for option in every() {
            for upper in [false, true] {
                Given(std::slice::from_ref(&option))
                    .check(upper)
                    .unwrap_or_else(|why| panic!("{option:?}: {why}"));
            }
        }
        assert_eq!(sentence("context=system_u:object_r:x:s0", true), None);
    }

    #[test]
    fn unknown_options_and_values_are_refused_with_those_that_there_are() {
        for (text, words) in [
            ("nonsense", "overlayfs has no option nonsense; it has redirect_dir, index, "),
            ("lowerdir=/a", "no option lowerdir"),
            ("index=yes", "index=yes is none of index=on, off"),
            ("redirect_dir", "redirect_dir=nothing is none of redirect_dir=on, off, follow, nofollow"),
            ("volatile=1", "volatile takes no value"),
            ("userxattr=", "userxattr takes no value"),
            ("context", "context needs a value"),
        ] {
            let sentence = sentence(text, true).unwrap();
            assert!(sentence.contains(words), "{sentence}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_what_does() {
        for (text, words) in [
            ("userxattr,redirect_dir=on", "userxattr and redirect_dir=on"),
            ("redirect_dir=follow,userxattr", "userxattr and redirect_dir=follow"),
            ("userxattr,metacopy=on", "userxattr and metacopy=on"),
            ("metacopy=on,redirect_dir=off", "use redirect_dir=on"),
            ("metacopy=on,redirect_dir=follow", "use redirect_dir=on"),
            ("metacopy=on,redirect_dir=nofollow", "use redirect_dir=on"),
            ("index=off,nfs_export=on", "use index=on"),
            ("metacopy=on,nfs_export=on", "use one of the two"),
        ] {
            let sentence = sentence(text, true).unwrap();
            assert!(sentence.contains(words), "{sentence}");
        }
    }

    #[test]
    fn without_an_upper_less_is_in_the_way() {
        for text in
            ["metacopy=on,redirect_dir=off", "metacopy=on,redirect_dir=follow", "index=off,nfs_export=on"]
        {
            assert_eq!(sentence(text, false), None, "{text}");
        }
        assert!(sentence("metacopy=on,redirect_dir=nofollow", false).is_some());
        assert!(sentence("userxattr,redirect_dir=on", false).is_some());
    }

    #[test]
    fn of_an_option_given_twice_the_last_counts() {
        assert_eq!(sentence("metacopy=on,redirect_dir=off,redirect_dir=on", true), None);
        assert!(sentence("metacopy=on,redirect_dir=on,redirect_dir=off", true).is_some());
    }

    #[test]
    fn redirects_are_on_and_metacopy_off_unless_something_else_is_asked_for() {
        for (text, expected) in [
            ("", "redirect_dir=on,metacopy=off"),
            ("redirect_dir=off", "metacopy=off"),
            ("redirect_dir=nofollow", "metacopy=off"),
            ("metacopy=on", "redirect_dir=on"),
            ("metacopy=off,redirect_dir=on", ""),
            ("nfs_export=on", "redirect_dir=on,metacopy=off"),
            ("verity=on", "redirect_dir=on"),
            ("verity=require", "redirect_dir=on"),
            ("verity=off", "redirect_dir=on,metacopy=off"),
            ("userxattr", ""),
        ] {
            assert_eq!(unasked(text, true, false), expected, "{text}");
            assert_eq!(unasked(text, true, true), expected, "{text}, with data");
            assert_eq!(unasked(text, false, false), "", "{text}, without an upper");
        }
    }

    #[test]
    fn data_only_layers_without_an_upper_are_read_by_metacopy() {
        assert_eq!(unasked("", false, true), "metacopy=on");
        for text in ["userxattr", "metacopy=off", "redirect_dir=nofollow", "nfs_export=on", "verity=on"] {
            assert_eq!(unasked(text, false, true), "", "{text}");
        }
    }

    #[test]
    fn no_redirects_and_userxattr_is_said_in_the_kernels_words() {
        let settings = Given(&options("userxattr,redirect_dir=off")).settings(true, false);
        assert_eq!(settings[1], Setting::Text("redirect_dir".into(), "nofollow".into()));
    }
}
