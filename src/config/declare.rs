//! What is said of a setting, and the macro that declares all of them.

use super::kind::Kind;

/// A setting, as the table declares it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its group in `--help`.
    pub group: &'static str,
    /// Its name in files; that of its flag and its variable follow from it.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Its default, as text.
    pub default: &'static str,
    /// How it is written.
    pub kind: Kind,
    /// Of a secret, the setting that names a file to read it from.
    pub file: Option<&'static str>,
    /// What of it takes effect without a restart, and when; none if nothing does.
    pub reload: Option<&'static str>,
}

impl Setting {
    /// Its environment variable.
    pub fn variable(name: &str) -> String {
        format!("ENDCAP_{}", name.to_uppercase())
    }

    /// Its flag.
    pub fn flag(name: &str) -> String {
        format!("--{}", name.replace('_', "-"))
    }
}

/// The setting of that name, in a file or elsewhere, or the one that names its file.
pub(super) fn find<'a>(settings: &'a [Setting], name: &str) -> Option<&'a Setting> {
    let mut settings = settings.iter();
    settings.find(|setting| setting.name == name || setting.file == Some(name))
}

/// Declares every setting once: its group in `--help`, its description, its name in flags,
/// environment and file, its type and its default. A type that is a secret names, with
/// `#[secret(…)]`, the setting for a file with it. `#[reload = "…"]` says what of a setting
/// takes effect without a restart.
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

        /// The effective settings, as they were written or by default.
        #[derive(Clone, Debug)]
        pub struct Raw {
            $($($(#[doc = $doc])+ pub $name: $type,)+)+
            /// The files that secrets were read from, by the names of the settings.
            pub files: BTreeMap<&'static str, PathBuf>,
        }

        impl Flags {
            /// Those that are given, by name.
            pub(super) fn given(self) -> BTreeMap<String, String> {
                let all = [$($(
                    (stringify!($name), self.$name),
                    $((stringify!($file), self.$file),)?
                )+)+];
                let given = all.into_iter();
                given.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
            }
        }

        /// All settings.
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
            /// The setting of that name, or the one that can be read from a file that a setting of
            /// that name names.
            pub fn find(name: &str) -> Option<&'static Self> {
                super::declare::find(SETTINGS, name)
            }
        }

        // A secret can be read from a file, and nothing else can.
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

            /// Each setting with its value as text, secrets hidden.
            pub fn texts(&self) -> impl Iterator<Item = (&'static Setting, String)> {
                let texts = [$($(self.$name.to_string(),)+)+];
                SETTINGS.iter().zip(texts)
            }
        }
    };
}
