use super::*;

fn files(directory: &Path, credentials: &str, config: &str) -> Files {
    let files = Files {
        credentials: directory.join("credentials"),
        config: directory.join("config"),
    };
    std::fs::write(&files.credentials, credentials).unwrap();
    std::fs::write(&files.config, config).unwrap();
    files
}

fn keys_of(profile: &Profile) -> AwsCredential {
    match profile.grant().unwrap() {
        Grant::Keys(keys) => keys,
        Grant::WebIdentity { .. } => panic!("a role"),
    }
}

const KEYS: &str = "[lake]\naws_access_key_id = AK\naws_secret_access_key = SK\n";

#[test]
fn both_files_make_a_profile() {
    let directory = tempfile::tempdir().unwrap();
    let config = "[profile lake]\nregion = eu-west-1\naws_access_key_id = OLD\n";
    let files = files(directory.path(), KEYS, config);
    let profile = files.profile("lake").unwrap().unwrap();
    assert_eq!(profile.setting("region"), Some("eu-west-1"));
    assert_eq!(keys_of(&profile).key_id, "AK");
    assert!(files.profile("other").unwrap().is_none());
    assert!(!format!("{profile:?}").contains("SK"));
}

#[test]
fn a_role_by_web_identity_is_taken_and_what_is_not_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let config = "[profile role]\nrole_arn = arn:x\nweb_identity_token_file = /token\n\
                  [profile sso]\nsso_session = corp\n\
                  [profile empty]\nregion = x\n";
    let files = files(directory.path(), "", config);
    let role = files.profile("role").unwrap().unwrap().grant();
    assert!(matches!(role, Ok(Grant::WebIdentity { token_file, .. }) if token_file == "/token"));
    for (name, part) in [("sso", "sso_session"), ("empty", "aws_access_key_id")] {
        let why = files.profile(name).unwrap().unwrap().grant().err().unwrap();
        assert!(why.contains(part) && why.contains(name), "{why}");
    }
    assert!(!files.profile("empty").unwrap().unwrap().grants_something());
}

#[tokio::test]
async fn rotated_keys_are_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path(), KEYS, "");
    let keys = ProfileKeys::new(files.profile("lake").unwrap().unwrap());
    assert_eq!(keys.get_credential().await.unwrap().key_id, "AK");
    std::fs::write(&files.credentials, KEYS.replace("AK", "NEW")).unwrap();
    assert_eq!(keys.get_credential().await.unwrap().key_id, "AK");
    let long_ago = Instant::now().checked_sub(READ_INTERVAL).unwrap();
    keys.known.lock().unwrap().as_mut().unwrap().0 = long_ago;
    assert_eq!(keys.get_credential().await.unwrap().key_id, "NEW");
    assert!(!format!("{keys:?}").contains("SK"));
}
