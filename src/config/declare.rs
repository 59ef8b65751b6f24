//! The declaration of settings: their metadata, and the macro that generates flags, parsing and
//! documentation from the table in `table`.

use super::kind::Kind;

/// The metadata of a setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its group in `--help` and in generated files.
    pub group: &'static str,
    /// Its name in files. The names of its flag and its environment variable are derived from it.
    pub name: &'static str,
    /// Its description, which `--help` and the documentation show.
    pub description: &'static str,
    /// Its default value, as text.
    pub default: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// For a secret, the setting that names a file to read it from.
    pub file: Option<&'static str>,
    /// Which part of it takes effect without a restart, and when; `None` if nothing does.
    pub reload: Option<&'static str>,
}

impl Setting {
    /// The environment variable of a setting.
    pub fn variable(name: &str) -> String {
        format!("ENDCAP_{}", name.to_uppercase())
    }

    /// The flag of a setting.
    pub fn flag(name: &str) -> String {
        format!("--{}", name.replace('_', "-"))
    }
}

/// The setting with this name, or the secret whose file this name sets.
pub(super) fn find<'a>(settings: &'a [Setting], name: &str) -> Option<&'a Setting> {
    let mut settings = settings.iter();
    settings.find(|setting| setting.name == name || setting.file == Some(name))
}

/// Declares all settings: their groups in `--help`, descriptions, names, types and defaults. A
/// setting whose type is a secret names, with `#[secret(…)]`, the setting for a file that contains
/// it. `#[reload = "…"]` says which part of a setting takes effect without a restart.
macro_rules! settings {
    ($($group:literal { $(
        $(#[doc = $doc:literal])+
        $(#[secret($file:ident)])?
        $(#[reload = $reload:literal])?
        $name:ident: $type:ty = $default:literal,
    )+ })+) => {
        /// The settings that are given as flags.
        #[derive(Clone, Debug, Default, clap::Args)]
        pub struct Flags {
            $($(
                $(#[doc = $doc])+
                #[arg(long, help_heading = $group, value_name = <$type as Value>::NAME, global = true)]
                pub $name: Option<String>,
                $(
                    /// The file of a secret.
                    #[arg(
                        long, help_heading = $group, value_name = "FILE", global = true,
                        help = concat!("File to read ", stringify!($name), " from"),
                    )]
                    pub $file: Option<String>,
                )?
            )+)+
        }

        /// The effective settings: as given, or their defaults.
        #[derive(Clone, Debug)]
        pub struct Raw {
            $($($(#[doc = $doc])+ pub $name: $type,)+)+
            /// The files that secrets were read from, by the names of the secrets' settings.
            pub files: BTreeMap<&'static str, PathBuf>,
        }

        impl Flags {
            /// The flags that are given, by the names of their settings.
            pub fn given(self) -> BTreeMap<String, String> {
                let all = [$($(
                    (stringify!($name), self.$name),
                    $((stringify!($file), self.$file),)?
                )+)+];
                let given = all.into_iter();
                given.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
            }
        }

        /// The metadata of all settings.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            group: $group,
            name: stringify!($name),
            description: concat!($($doc),+),
            default: $default,
            kind: <$type as Value>::KIND,
            file: [$(Some(stringify!($file)),)? None][0],
            reload: [$(Some($reload),)? None][0],
        },)+)+];

        impl Setting {
            /// The setting with this name, or the secret whose file this name sets.
            pub fn find(name: &str) -> Option<&'static Self> {
                super::declare::find(SETTINGS, name)
            }
        }

        // Exactly the secrets have a setting for a file.
        const _: () = {
            $($(
                let file: Option<&str> = [$(Some(stringify!($file)),)? None][0];
                assert!(<$type as Value>::SECRET == file.is_some(), stringify!($name));
            )+)+
        };

        impl Raw {
            pub(super) fn parse(sources: &sources::Sources) -> Result<Self, Vec<Problem>> {
                let mut problems = Vec::new();
                $($(
                    let file = [$(Some(stringify!($file)),)? None][0];
                    let $name = sources
                        .value::<$type>(stringify!($name), file, $default, &mut problems);
                )+)+
                if let ($($(Some($name),)+)+) = ($($($name,)+)+)
                    && problems.is_empty()
                {
                    let files = SETTINGS.iter().filter_map(|setting| {
                        Some((setting.name, sources.secret_file(setting.file?)?.1))
                    });
                    Ok(Self { $($($name,)+)+ files: files.collect() })
                } else {
                    Err(problems)
                }
            }

            /// Each setting with its value as text. Secrets are hidden.
            pub fn texts(&self) -> impl Iterator<Item = (&'static Setting, String)> {
                let texts = [$($(self.$name.to_string(),)+)+];
                SETTINGS.iter().zip(texts)
            }
        }
    };
}
