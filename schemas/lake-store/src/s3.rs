//! S3: by keys, by a profile of AWS's own files, or by a role.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use url::Url;

use crate::location::{option, retry, told};

mod profile;

use profile::{Grant, Profile, ProfileKeys};

/// Our own option: the profile of `~/.aws` to take. object_store does not read those files.
const PROFILE: &str = "aws_profile";

/// Opens a bucket. In this order, as AWS's own programs do: `aws_profile` of the options; keys, a
/// web identity or a container's role of the options and the environment; `AWS_PROFILE` or the
/// profile `default`; the machine's role.
pub(crate) fn open(
    url: &Url,
    options: &[(String, String)],
) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = AmazonS3Builder::from_env()
        .with_url(url.as_str())
        .with_retry(retry());
    let mut wanted = None;
    for (name, value) in options {
        if name.eq_ignore_ascii_case(PROFILE) {
            wanted = Some(value.as_str());
            continue;
        }
        let key: AmazonS3ConfigKey = option(name, "S3")?;
        if key == AmazonS3ConfigKey::ConditionalPut && value != "etag" {
            return Err(format!(
                "lake.options.{name} cannot be set: commits need create-if-absent"
            ));
        }
        builder = builder.with_config(key, value);
    }
    let builder = match wanted {
        Some(name) => {
            refuse_keys_beside_a_profile(options)?;
            with_profile(builder, &Profile::read(name)?)?
        }
        None if has_credentials(&builder) => builder,
        None => match Profile::of_environment()? {
            Some(profile) => with_profile(builder, &profile)?,
            None => builder,
        },
    };
    let store = builder.build().map_err(|error| told(&error))?;
    Ok(Arc::new(store))
}

/// Whether options or environment say who we are.
fn has_credentials(builder: &AmazonS3Builder) -> bool {
    [
        AmazonS3ConfigKey::AccessKeyId,
        AmazonS3ConfigKey::SecretAccessKey,
        AmazonS3ConfigKey::WebIdentityTokenFile,
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
        AmazonS3ConfigKey::SkipSignature,
    ]
    .iter()
    .any(|key| {
        let value = builder.get_config_value(key);
        value.is_some_and(|value| value != "false")
    })
}

fn refuse_keys_beside_a_profile(options: &[(String, String)]) -> Result<(), String> {
    let key = options.iter().map(|(name, _)| name).find(|name| {
        let parsed = name.to_ascii_lowercase().parse();
        matches!(
            parsed,
            Ok(AmazonS3ConfigKey::AccessKeyId | AmazonS3ConfigKey::SecretAccessKey)
        )
    });
    match key {
        Some(key) => Err(format!(
            "lake.options has {PROFILE} and {key}; take one of them"
        )),
        None => Ok(()),
    }
}

/// What the profile grants, and its region and endpoint where nothing else names them.
fn with_profile(
    mut builder: AmazonS3Builder,
    profile: &Profile,
) -> Result<AmazonS3Builder, String> {
    let defaults = [
        (AmazonS3ConfigKey::Region, profile.setting("region")),
        (AmazonS3ConfigKey::Endpoint, profile.setting("endpoint_url")),
    ];
    for (key, value) in defaults {
        if let (None, Some(value)) = (builder.get_config_value(&key), value) {
            builder = builder.with_config(key, value);
        }
    }
    Ok(match profile.grant()? {
        Grant::Keys(_) => builder.with_credentials(Arc::new(ProfileKeys::new(profile.clone()))),
        Grant::WebIdentity { role, token_file } => builder
            .with_config(AmazonS3ConfigKey::RoleArn, role)
            .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file),
    })
}
