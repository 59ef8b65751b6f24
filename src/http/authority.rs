//! Rewrites the `:authority` of HTTP/2 requests where the `http` crate would reject it.
//!
//! A gRPC client based on C core (Python, Ruby, PHP, C++) whose target is a list of addresses, an
//! IPv6 address or a Unix socket, sends the whole target in `:authority`, percent-encoded:
//! `10.0.0.1:50051%2C10.0.0.2:50051`. RFC 3986 allows that. h2 resets the stream, and has no
//! setting for it (hyperium/h2#487).
//!
//! Nothing in this service reads the authority, so the offending characters are replaced before h2
//! reads them. The length of the value stays the same, and so does HPACK's state. This module can
//! be removed once h2 accepts such requests.

use std::ops::Range;

use http::uri::Authority;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
/// The largest frame that h2 accepts by default.
const MAX_FRAME: usize = 16 << 10;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The index of `:authority` in HPACK's static table.
const AUTHORITY: usize = 1;

/// Tracks the frames that a client sends.
#[derive(Debug)]
pub(super) struct Authorities(Place);

#[derive(Clone, Copy, Debug)]
enum Place {
    /// This many bytes into the HTTP/2 preface.
    Preface(usize),
    /// This many bytes before the next frame.
    Frame(usize),
    /// The connection is not HTTP/2, or is malformed: everything is passed on unchanged.
    Elsewhere,
}

impl Authorities {
    pub(super) fn new() -> Self {
        Self(Place::Preface(0))
    }

    /// Inspects the received bytes that were not passed on before, and rewrites the authorities in
    /// them. Returns how many bytes can be passed on; the caller has to present the others again,
    /// together with the bytes that follow.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            match self.0 {
                Place::Elsewhere => return bytes.len(),
                Place::Preface(seen) => {
                    let length = (PREFACE.len() - seen).min(bytes.len() - at);
                    self.0 = if bytes[at..at + length] != PREFACE[seen..seen + length] {
                        Place::Elsewhere
                    } else if seen + length == PREFACE.len() {
                        Place::Frame(0)
                    } else {
                        Place::Preface(seen + length)
                    };
                    at += length;
                    if let Place::Preface(_) = self.0 {
                        return at;
                    }
                }
                Place::Frame(left) if left > bytes.len() - at => {
                    self.0 = Place::Frame(left - (bytes.len() - at));
                    return bytes.len();
                }
                Place::Frame(left) => {
                    at += left;
                    self.0 = Place::Frame(0);
                    match frame(&mut bytes[at..]) {
                        Some(next) => self.0 = next,
                        None => return at,
                    }
                }
            }
        }
    }

    /// Passes on everything from now on, unchanged.
    pub(super) fn stop(&mut self) {
        self.0 = Place::Elsewhere;
    }
}

/// Inspects the frame at the start of `bytes`. `None` if more of it has to be received first.
fn frame(bytes: &mut [u8]) -> Option<Place> {
    let [a, b, c, kind, flags, ..] = *bytes.first_chunk::<FRAME_HEAD>()?;
    let end = FRAME_HEAD + u32::from_be_bytes([0, a, b, c]) as usize;
    if kind == HEADERS {
        // h2 rejects such a frame, so nothing that follows matters.
        if end > FRAME_HEAD + MAX_FRAME {
            return Some(Place::Elsewhere);
        }
        let payload = bytes.get_mut(FRAME_HEAD..end)?;
        if let Some(block) = block(flags, payload)
            && let Some(value) = find(block)
        {
            replace(&mut block[value]);
        }
    }
    Some(Place::Frame(end))
}

/// The header block in the payload of a HEADERS frame.
fn block(flags: u8, payload: &mut [u8]) -> Option<&mut [u8]> {
    let has = |flag| flags & flag != 0;
    let padding = if has(PADDED) {
        usize::from(*payload.first()?)
    } else {
        0
    };
    let start = usize::from(has(PADDED)) + if has(PRIORITY) { 5 } else { 0 };
    let end = payload.len().checked_sub(padding)?;
    payload.get_mut(start..end)
}

/// The position of the authority's value in a header block, if it is a literal without Huffman
/// coding, which is how gRPC's C core sends it.
fn find(block: &[u8]) -> Option<Range<usize>> {
    let mut fields = Fields { block, at: 0 };
    loop {
        let first = *block.get(fields.at)?;
        match first {
            // An indexed field, or an update of the table's size: neither has a literal value.
            0x80.. => drop(fields.integer(7)?),
            0x20..0x40 => drop(fields.integer(5)?),
            _ => {
                let index = fields.integer(if first < 0x40 { 4 } else { 6 })?;
                let is_named = if index == 0 {
                    let name = fields.text()?;
                    name.is_some_and(|name| &block[name] == b":authority")
                } else {
                    index == AUTHORITY
                };
                let value = fields.text()?;
                if is_named {
                    return value;
                }
            }
        }
    }
}

/// Walks the fields of a header block (RFC 7541) without keeping its dynamic table.
struct Fields<'a> {
    block: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.block.get(self.at);
        self.at += 1;
        byte.copied()
    }

    /// Reads an integer with a prefix of `bits` bits (section 5.1).
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let mask = (1 << bits) - 1;
        let mut value = usize::from(self.byte()? & mask);
        if value < usize::from(mask) {
            return Some(value);
        }
        // Three continuation bytes can encode more than the length of a frame.
        for shift in [0, 7, 14] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads a string literal (section 5.2), and returns its position; the inner option is `None`
    /// if the string is Huffman-coded.
    fn text(&mut self) -> Option<Option<Range<usize>>> {
        let is_huffman = self.block.get(self.at)? & 0x80 != 0;
        let length = self.integer(7)?;
        let range = self.at..self.at + length;
        self.at = range.end;
        (range.end <= self.block.len()).then_some((!is_huffman).then_some(range))
    }
}

/// Replaces the characters that make a value invalid as an authority. If it would still be invalid,
/// it is left alone, and h2 rejects it.
fn replace(value: &mut [u8]) {
    if Authority::try_from(&*value).is_ok() {
        return;
    }
    let replaced: Vec<_> = value
        .iter()
        .map(|byte| match byte {
            b'%' | b':' | b'[' | b']' => b'-',
            other => *other,
        })
        .collect();
    if Authority::try_from(&*replaced).is_ok() {
        value.copy_from_slice(&replaced);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A HEADERS frame with that `:authority`, after a frame of another type.
    fn frames(authority: &[u8], flags: u8) -> Vec<u8> {
        let mut block = vec![0x82, 0x86, 0x3f, 0xe1, 0x1f];
        block.extend([0x44, 2, b'/', b'x', 0x00, 1, b'a', 1, b'b', 0x41]);
        block.push(u8::try_from(authority.len()).unwrap());
        block.extend(authority);
        block.extend([0x10, 1, b'c', 1, b'd']);
        let mut payload = Vec::new();
        if flags & PADDED != 0 {
            payload.push(3);
        }
        if flags & PRIORITY != 0 {
            payload.extend([0; 5]);
        }
        payload.extend(block);
        if flags & PADDED != 0 {
            payload.extend([0; 3]);
        }
        let mut frames = PREFACE.to_vec();
        frames.extend([0, 0, 2, 0, 0, 0, 0, 0, 1, b'%', b':']);
        frames.extend([0, 0, u8::try_from(payload.len()).unwrap()]);
        frames.extend([HEADERS, flags, 0, 0, 0, 1]);
        frames.extend(payload);
        frames
    }

    /// The bytes that are passed on when they arrive in pieces of these lengths.
    fn passed(bytes: &[u8], pieces: &[usize]) -> Vec<u8> {
        let (mut passed, mut held, mut at) = (Vec::new(), Vec::new(), 0);
        let mut authorities = Authorities::new();
        let mut pieces = pieces.iter().cycle();
        while at < bytes.len() {
            let end = bytes.len().min(at + pieces.next().unwrap());
            held.extend(&bytes[at..end]);
            let length = authorities.pass(&mut held);
            passed.extend(held.drain(..length));
            at = end;
        }
        authorities.stop();
        assert_eq!(authorities.pass(&mut held), held.len());
        passed.extend(held);
        passed
    }

    #[test]
    fn only_authorities_that_h2_would_reject_are_rewritten() {
        for (sent, expected) in [
            ("10.0.0.1:1,10.0.0.2:1", "10.0.0.1-1,10.0.0.2-1"),
            ("10.0.0.1:1%2C10.0.0.2:1", "10.0.0.1-1-2C10.0.0.2-1"),
            ("%5B::1%5D:50051", "-5B--1-5D-50051"),
            ("[::1]:1,[::2]:1", "---1--1,---2--1"),
            ("%2Ftmp%2Fsocket", "-2Ftmp-2Fsocket"),
            ("example.com:50051", "example.com:50051"),
            ("[::1]:50051", "[::1]:50051"),
            ("me%41@example.com", "me%41@example.com"),
            // These are invalid in any case, and h2 must still reject them.
            ("a b%2C", "a b%2C"),
            ("a\n:1:1", "a\n:1:1"),
        ] {
            for flags in [0x4, 0x5, 0x4 | PADDED, 0x4 | PRIORITY | PADDED] {
                let frames = |authority: &str| frames(authority.as_bytes(), flags);
                for pieces in [&[1][..], &[2, 7], &[1_000]] {
                    let passed = passed(&frames(sent), pieces);
                    assert_eq!(passed, frames(expected), "{sent}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_keep_their_length(
            tail in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0_usize..100,
            pieces in prop::collection::vec(1_usize..40, 1..5),
        ) {
            let mut bytes = frames(b"a:1:1", 0x4);
            bytes.truncate(bytes.len().saturating_sub(cut));
            bytes.extend(tail);
            let passed = passed(&bytes, &pieces);
            prop_assert_eq!(passed.len(), bytes.len());
        }

        #[test]
        fn scanning_any_header_block_stays_in_bounds(block in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(value) = find(&block) {
                prop_assert!(value.end <= block.len());
            }
        }
    }
}
