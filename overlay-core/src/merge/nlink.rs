//! How many names a union file has whose lower object has several: the mark `overlay.nlink`.
//!
//! The file of the upper has one name more in the index and lacks those that only a lower holds, so the count is kept as a
//! difference: to the upper's count, which names that come and go in the upper change too; or to the lower's, which
//! nothing changes, while a name is brought into the upper.

use std::fmt;

/// The count as a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// To the count of the upper object.
    Upper(i64),
    /// To the count of the lower object.
    Lower(i64),
}

impl Links {
    /// That of `total` names, of which the upper object shows `upper`.
    pub fn of(total: u32, upper: u32) -> Self {
        Self::Upper(i64::from(total) - i64::from(upper))
    }

    /// Reads a mark; `None` if it makes no sense.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (base, difference) = std::str::from_utf8(value).ok()?.split_at_checked(1)?;
        let difference = difference.parse().ok().filter(|_| difference.starts_with(['+', '-']))?;
        match base {
            "U" => Some(Self::Upper(difference)),
            "L" => Some(Self::Lower(difference)),
            _ => None,
        }
    }

    /// How many names there are.
    pub fn total(self, upper: u32, lower: u32) -> u32 {
        let total = match self {
            Self::Upper(difference) => i64::from(upper) + difference,
            Self::Lower(difference) => i64::from(lower) + difference,
        };
        u32::try_from(total).unwrap_or(0)
    }
}

impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upper(difference) => write!(f, "U{difference:+}"),
            Self::Lower(difference) => write!(f, "L{difference:+}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_written_and_read_as_the_kernel_does() {
        for (text, links) in [
            ("U+1", Links::Upper(1)),
            ("U+0", Links::Upper(0)),
            ("U-2", Links::Upper(-2)),
            ("L+0", Links::Lower(0)),
        ] {
            assert_eq!(links.to_string(), text);
            assert_eq!(Links::parse(text.as_bytes()), Some(links));
        }
        for bad in ["", "U", "U1", "X+1", "U+", "U+x"] {
            assert_eq!(Links::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn the_total_is_a_difference_and_never_below_nothing() {
        assert_eq!(Links::of(3, 1), Links::Upper(2));
        assert_eq!(Links::of(3, 1).total(1, 9), 3);
        assert_eq!(Links::Lower(-1).total(9, 3), 2);
        assert_eq!(Links::Upper(-5).total(2, 3), 0);
    }
}
