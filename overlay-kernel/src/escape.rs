//! How `mount(2)` wants a path inside its option string. Pure.
//!
//! The string is cut at `,`, a `lowerdir` at `:`, and what is left is unescaped once: a backslash goes away and the
//! character after it stays (`ovl_next_opt`, `ovl_unescape` in `fs/overlayfs/params.c`).

/// A path as one element of `lowerdir`.
pub(crate) fn lower(path: &[u8]) -> Vec<u8> {
    escape(path, b"\\,:")
}

/// A path as the whole value of `upperdir` or `workdir`, where a colon is an ordinary character.
pub(crate) fn single(path: &[u8]) -> Vec<u8> {
    escape(path, b"\\,")
}

fn escape(path: &[u8], special: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        if special.contains(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

/// The value of an option of a security module, which reads quotes in place of escapes.
pub(crate) fn label(value: &str) -> String {
    if value.contains(',') && !value.starts_with('"') { format!("\"{value}\"") } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does: cut at every separator that no backslash stands before, keeping the backslashes.
    fn cut(text: &[u8], separator: u8) -> Vec<Vec<u8>> {
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        let mut bytes = text.iter().copied();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => {
                    part.push(byte);
                    part.extend(bytes.next());
                }
                byte if byte == separator => parts.push(std::mem::take(&mut part)),
                byte => part.push(byte),
            }
        }
        parts.push(part);
        parts
    }

    fn unescape(text: &[u8]) -> Vec<u8> {
        let mut bytes = text.iter().copied();
        let mut plain = Vec::new();
        while let Some(byte) = bytes.next() {
            plain.extend(if byte == b'\\' { bytes.next() } else { Some(byte) });
        }
        plain
    }

    /// Every string of up to `len` characters of which any may be special.
    fn names(len: usize) -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new()];
        let mut longest = all.clone();
        for _ in 0..len {
            longest = longest
                .iter()
                .flat_map(|name| b"\\,:a ".iter().map(move |byte| [name.as_slice(), &[*byte]].concat()))
                .collect();
            all.extend(longest.iter().cloned());
        }
        all
    }

    #[test]
    fn the_kernel_reads_back_every_pair_of_names() {
        let names = names(3);
        for first in &names {
            for second in &names {
                let value = [lower(first), b":".to_vec(), lower(second)].concat();
                let text = [b"lowerdir=".to_vec(), value, b",upperdir=".to_vec(), single(first)].concat();
                let options = cut(&text, b',');
                assert_eq!(options.len(), 2, "{text:?}");
                let lowers = cut(&options[0][b"lowerdir=".len()..], b':');
                let lowers: Vec<_> = lowers.iter().map(|lower| unescape(lower)).collect();
                assert_eq!(lowers, [first.clone(), second.clone()]);
                assert_eq!(unescape(&options[1][b"upperdir=".len()..]), *first);
            }
        }
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        assert_eq!(lower(b"/var/lib/a b\xff\""), b"/var/lib/a b\xff\"");
        assert_eq!(single(b"/a:b"), b"/a:b");
    }

    #[test]
    fn labels_with_commas_are_quoted_once() {
        assert_eq!(label("s0:c1,c2"), "\"s0:c1,c2\"");
        assert_eq!(label("\"s0:c1,c2\""), "\"s0:c1,c2\"");
        assert_eq!(label("s0"), "s0");
    }
}
