//! Unmasking, in place.

/// A client's masking key and how much of the payload it has been applied to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mask([u8; 4]);

impl Mask {
    pub(crate) const fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// Unmasks the next bytes of the payload; the key turns with them, so that a payload may come
    /// in any number of parts.
    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        let wide = u64::from_ne_bytes(self.doubled());
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.doubled()) {
            *byte ^= key;
        }
        self.0.rotate_left(rest.len() % 4);
    }

    fn doubled(self) -> [u8; 8] {
        let [a, b, c, d] = self.0;
        [a, b, c, d, a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_unmasked_like_the_whole(
            key: [u8; 4],
            payload in prop::collection::vec(any::<u8>(), 0..100),
            cut in 0..100_usize,
        ) {
            let expected: Vec<u8> = payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
            let mut parts = payload;
            let cut = cut.min(parts.len());
            let (first, second) = parts.split_at_mut(cut);
            let mut mask = Mask::new(key);
            mask.apply(first);
            mask.apply(second);
            prop_assert_eq!(parts, expected);
        }
    }
}
