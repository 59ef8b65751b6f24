//! Requests over HTTP/2 whose `:authority` the `http` crate does not take for one.
//!
//! A client on gRPC's C core (Python, Ruby, PHP, C++) whose target is several addresses, or
//! one of IPv6 or of a Unix socket, names it in `:authority` whole and percent-encoded:
//! `10.0.0.1:50051%2C10.0.0.2:50051`. RFC 3986 allows that. h2 resets the stream, and has no
//! setting for it (hyperium/h2#487).
//!
//! No part of this service reads the authority. So where it is one that would be refused,
//! the characters that are the reason are replaced before h2 reads them. The length stays,
//! and with it all that HPACK's state depends on. This goes once h2 takes such requests.

use std::ops::Range;

use http::uri::Authority;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
/// What h2 takes at most unless it is told otherwise.
const MAX_FRAME: usize = 16 << 10;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The index of `:authority` in HPACK's static table.
const AUTHORITY: usize = 1;

/// Follows the frames that a client sends.
#[derive(Debug)]
pub(super) struct Authorities(Place);

#[derive(Clone, Copy, Debug)]
enum Place {
    /// So many bytes into the preface of HTTP/2.
    Preface(usize),
    /// So many bytes before the next frame.
    Frame(usize),
    /// In what is not HTTP/2, or not as it should be.
    Elsewhere,
}

impl Authorities {
    pub(super) fn new() -> Self {
        Self(Place::Preface(0))
    }

    /// Looks at what was received since the bytes that were passed on, and changes the
    /// authorities in it. Answers how many bytes can be passed on; the others have to come
    /// again, together with what follows them.
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

    /// Passes everything on from here on.
    pub(super) fn stop(&mut self) {
        self.0 = Place::Elsewhere;
    }
}

/// Looks at the frame that the bytes begin with. None if there is too little of it.
fn frame(bytes: &mut [u8]) -> Option<Place> {
    let [a, b, c, kind, flags, ..] = *bytes.first_chunk::<FRAME_HEAD>()?;
    let end = FRAME_HEAD + u32::from_be_bytes([0, a, b, c]) as usize;
    if kind == HEADERS {
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

/// The header block in the payload of HEADERS.
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

/// Where the authority's value is in a header block, if it is written out there and not in
/// Huffman's code, which gRPC's C core does not use for it.
fn find(block: &[u8]) -> Option<Range<usize>> {
    let mut fields = Fields { block, at: 0 };
    loop {
        let first = *block.get(fields.at)?;
        match first {
            // An indexed field; a new size of the table.
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

/// Reads a header block as RFC 7541 has it, without its tables.
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

    /// An integer in the last `bits` of a byte and those that follow (section 5.1).
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let mask = (1 << bits) - 1;
        let mut value = usize::from(self.byte()? & mask);
        if value < usize::from(mask) {
            return Some(value);
        }
        // Three bytes are more than a frame is long.
        for shift in [0, 7, 14] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A string (section 5.2); none within if it is in Huffman's code.
    fn text(&mut self) -> Option<Option<Range<usize>>> {
        let is_huffman = self.block.get(self.at)? & 0x80 != 0;
        let length = self.integer(7)?;
        let range = self.at..self.at + length;
        self.at = range.end;
        (range.end <= self.block.len()).then_some((!is_huffman).then_some(range))
    }
}

/// Replaces what keeps a value from being an authority, if that is all that does.
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

    /// A frame of a request with that `:authority`, after one of another kind.
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

    /// What is passed on of bytes that come in such pieces.
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
    fn authorities_that_would_be_refused_are_changed_and_nothing_else() {
        for (sent, expected) in [
            ("10.0.0.1:1,10.0.0.2:1", "10.0.0.1-1,10.0.0.2-1"),
            ("10.0.0.1:1%2C10.0.0.2:1", "10.0.0.1-1-2C10.0.0.2-1"),
            ("%5B::1%5D:50051", "-5B--1-5D-50051"),
            ("[::1]:1,[::2]:1", "---1--1,---2--1"),
            ("%2Ftmp%2Fsocket", "-2Ftmp-2Fsocket"),
            ("example.com:50051", "example.com:50051"),
            ("[::1]:50051", "[::1]:50051"),
            ("me%41@example.com", "me%41@example.com"),
            // Refused by h2, as they have to be.
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
        fn any_bytes_in_any_pieces_pass_whole(
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
        fn any_block_is_walked(block in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(value) = find(&block) {
                prop_assert!(value.end <= block.len());
            }
        }
    }
}
