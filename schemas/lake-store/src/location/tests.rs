use super::*;

fn refused(location: &str, options: &[(&str, &str)]) -> String {
    let error = validate(location, &own(options)).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    error
}

fn own(options: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    options.iter().map(own).collect()
}

/// The store that a location opens, by its own description, and the path in it.
fn opened(location: &str, options: &[(&str, &str)]) -> (String, String) {
    let (url, store, prefix) = open(location, &own(options), false).unwrap();
    assert_eq!(url.as_str(), location);
    (store.to_string(), prefix.to_string())
}

/// The key of Azure's emulator, which is public.
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[test]
fn every_cloud_is_opened_by_its_address() {
    let s3 = [("aws_access_key_id", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    assert_eq!(
        opened("s3://bucket/a/b", &s3),
        ("AmazonS3(bucket)".to_owned(), "a/b".to_owned())
    );
    let gcs = [(
        "google_service_account_key",
        r#"{"gcs_base_url": "http://127.0.0.1:1", "disable_oauth": true,
            "client_email": "", "private_key": "", "private_key_id": ""}"#,
    )];
    assert_eq!(
        opened("gs://bucket/a", &gcs),
        ("GoogleCloudStorage(bucket)".to_owned(), "a".to_owned())
    );
    let azure = [("azure_storage_account_key", KEY)];
    let (store, prefix) = opened("abfss://box@acc.dfs.core.windows.net/a", &azure);
    assert!(store.contains("acc") && store.contains("box"), "{store}");
    assert_eq!(prefix, "a");
    let azure = [("azure_storage_account_name", "acc"), azure[0]];
    for location in ["az://box/a", "abfss://box/a", "azure://box/a"] {
        let (store, _) = opened(location, &azure);
        assert!(store.contains("acc") && store.contains("box"), "{store}");
    }
}

#[test]
fn what_no_store_knows_is_refused_by_name() {
    let unknown = [("aws_acces_key", "hunter2")];
    assert!(refused("s3://b/p", &unknown).contains("aws_acces_key is no option of S3"));
    let unknown = [("aws_region", "x")];
    assert!(refused("az://b/p", &unknown).contains("aws_region is no option of Azure"));
    assert!(refused("gs://b/p", &unknown).contains("is no option of Google Cloud Storage"));
    assert!(refused("lake", &unknown).contains("takes no lake.options"));
    assert!(refused("ftp://b/p", &[]).contains("gs://"));
    let unsafe_put = [("aws_conditional_put", "disabled")];
    assert!(refused("s3://b/p", &unsafe_put).contains("create-if-absent"));
}

#[test]
fn credentials_do_not_belong_into_an_address() {
    for location in ["s3://user:hunter2@b/p", "az://b/p?sig=hunter2"] {
        assert!(
            refused(location, &[]).contains("lake.options"),
            "{location}"
        );
    }
}

#[test]
fn a_profile_that_is_not_there_is_named() {
    let error = refused("s3://b/p", &[("aws_profile", "lakehead-no-such-profile")]);
    assert!(error.contains("lakehead-no-such-profile"), "{error}");
    let both = [("aws_profile", "x"), ("aws_access_key_id", "y")];
    assert!(refused("s3://b/p", &both).contains("take one of them"));
}
