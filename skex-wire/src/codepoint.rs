//! Registries of code points.
//!
//! A code point is a newtype over its wire value with a constant for each registered name, never a Rust `enum`:
//! a value that this version does not know is read, kept, compared and written unchanged.

/// Makes a registry: a newtype over an unsigned integer with one constant for each registered name.
///
/// The type has `new`, `value`, `name`, a list `KNOWN`, and a `Display` that shows the name where there is one, as does its `Debug`.
///
/// ```
/// skex_wire::codepoint! {
///     /// The fruit on the wire (one octet).
///     pub struct Fruit(u8) {
///         /// A pome.
///         APPLE = 1;
///         /// A drupe.
///         CHERRY = 2;
///     }
/// }
/// assert_eq!(Fruit::new(2), Fruit::CHERRY);
/// assert_eq!(format!("{}", Fruit::CHERRY), "CHERRY");
/// assert_eq!(format!("{}", Fruit::new(0x99)), "0x99");
/// assert_eq!(format!("{:?}", Fruit::CHERRY), "Fruit(CHERRY)");
/// ```
#[macro_export]
macro_rules! codepoint {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident($repr:ty) {
            $( $(#[$point_meta:meta])* $point:ident = $value:literal; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name($repr);

        // A registry that only one crate uses need not use every part.
        #[allow(dead_code)]
        impl $name {
            $( $(#[$point_meta])* $vis const $point: Self = Self($value); )*

            /// Every registered code point, in the order of the registry.
            $vis const KNOWN: &'static [Self] = &[$(Self::$point),*];

            /// The code point with this wire value, registered or not.
            #[must_use]
            $vis const fn new(value: $repr) -> Self {
                Self(value)
            }

            /// The wire value.
            #[must_use]
            $vis const fn value(self) -> $repr {
                self.0
            }

            /// The registered name, `None` for a value that this version does not know.
            #[must_use]
            $vis const fn name(self) -> ::core::option::Option<&'static str> {
                match self.0 {
                    $( $value => ::core::option::Option::Some(::core::stringify!($point)), )*
                    _ => ::core::option::Option::None,
                }
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self.name() {
                    ::core::option::Option::Some(name) => f.write_str(name),
                    ::core::option::Option::None => ::core::write!(f, "{:#04x}", self.0),
                }
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::write!(f, "{}({self})", ::core::stringify!($name))
            }
        }
    };
}

codepoint! {
    /// A suite: the hash (with HMAC and HKDF over it) and the AEAD that belong together. One octet.
    ///
    /// 0 is never a suite; 0x80 to 0xff are for private use. What a suite means, and whether it is compiled in,
    /// is said by `skex_core::Suite`.
    pub struct SuiteId(u8) {
        /// SHA-256, AES-256-GCM.
        SHA256_AES256GCM = 1;
        /// SHA-256, ChaCha20-Poly1305.
        SHA256_CHACHA20POLY1305 = 2;
        /// SHA3-256, AES-256-GCM.
        SHA3_256_AES256GCM = 3;
        /// SHA3-256, ChaCha20-Poly1305.
        SHA3_256_CHACHA20POLY1305 = 4;
        /// SHA-512, AES-256-GCM.
        SHA512_AES256GCM = 5;
    }
}

impl SuiteId {
    /// Whether the value is set aside for private use (0x80 to 0xff).
    #[must_use]
    pub const fn is_private_use(self) -> bool {
        self.0 >= 0x80
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::SuiteId;
    use std::format;

    #[test]
    fn every_value_survives_and_only_registered_ones_have_a_name() {
        for value in 0..=u8::MAX {
            let id = SuiteId::new(value);
            assert_eq!(id.value(), value);
            assert_eq!(id.name().is_some(), SuiteId::KNOWN.contains(&id));
            assert!(!(id.is_private_use() && id.name().is_some()));
        }
        assert_eq!(SuiteId::new(0).name(), None, "0 stays free for 'none'");
    }

    #[test]
    fn debug_names_what_is_registered_and_numbers_the_rest() {
        assert_eq!(format!("{:?}", SuiteId::SHA256_AES256GCM), "SuiteId(SHA256_AES256GCM)");
        assert_eq!(format!("{:?}", SuiteId::new(0x81)), "SuiteId(0x81)");
    }
}
