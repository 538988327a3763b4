//! Whether a store keeps two writers apart.

use object_store::path::Path;
use object_store::{Error, PutMode, PutOptions};

use crate::{LakeStore, LakeStoreError};

/// The object that the check creates; it stays, so that no right to delete is needed.
const CHECK_PATH: &str = "_system/create_check";

impl LakeStore {
    /// Tries what every commit rests on: an object that exists cannot be created again.
    ///
    /// It puts a small object twice with "only if absent" and wants the second put to be refused.
    /// A store that is atomic only most of the time passes; see the documentation for those that
    /// are known.
    pub async fn check_exclusive_create(&self) -> Result<(), LakeStoreError> {
        let path = self.table_prefix(CHECK_PATH);
        match self.create(&path).await {
            Ok(()) | Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(self.not_created(error)),
        }
        match self.create(&path).await {
            Err(Error::AlreadyExists { .. }) => Ok(()),
            Ok(()) => Err(self.not_exclusive("it created the same object twice")),
            Err(error) => Err(self.not_created(error)),
        }
    }

    async fn create(&self, path: &Path) -> object_store::Result<()> {
        let options = PutOptions::from(PutMode::Create);
        let content = "Lakehead tries here whether this store keeps two writers apart.\n";
        let put = self.root.put_opts(path, content.into(), options);
        put.await.map(|_| ())
    }

    fn not_created(&self, error: Error) -> LakeStoreError {
        match error {
            Error::NotImplemented { .. } | Error::NotSupported { .. } => {
                self.not_exclusive("it does not know how")
            }
            other => self.unreachable(other),
        }
    }

    fn not_exclusive(&self, why: &str) -> LakeStoreError {
        LakeStoreError::NotExclusive {
            url: self.url.to_string(),
            why: why.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        PutMultipartOptions, PutPayload, PutResult,
    };

    use super::*;

    /// A store that overwrites whatever it is told, as some that speak S3 do.
    #[derive(Debug)]
    struct Careless(Arc<dyn ObjectStore>);

    impl std::fmt::Display for Careless {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("careless")
        }
    }

    #[async_trait]
    impl ObjectStore for Careless {
        async fn put_opts(
            &self,
            path: &Path,
            payload: PutPayload,
            _options: PutOptions,
        ) -> object_store::Result<PutResult> {
            self.0.put_opts(path, payload, PutOptions::default()).await
        }

        async fn put_multipart_opts(
            &self,
            path: &Path,
            options: PutMultipartOptions,
        ) -> object_store::Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(path, options).await
        }

        async fn get_opts(
            &self,
            path: &Path,
            options: GetOptions,
        ) -> object_store::Result<GetResult> {
            self.0.get_opts(path, options).await
        }

        fn delete_stream(
            &self,
            paths: BoxStream<'static, object_store::Result<Path>>,
        ) -> BoxStream<'static, object_store::Result<Path>> {
            self.0.delete_stream(paths)
        }

        fn list(
            &self,
            prefix: Option<&Path>,
        ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
            self.0.list(prefix)
        }

        async fn list_with_delimiter(
            &self,
            prefix: Option<&Path>,
        ) -> object_store::Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }

        async fn copy_opts(
            &self,
            from: &Path,
            to: &Path,
            options: CopyOptions,
        ) -> object_store::Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    #[tokio::test]
    async fn a_store_that_overwrites_is_refused() {
        let lake = LakeStore::open("memory:///", &[], true).unwrap();
        lake.check_exclusive_create().await.unwrap();
        lake.check_exclusive_create().await.unwrap();
        let careless = lake.map_store(|store| Arc::new(Careless(store)));
        let error = careless.check_exclusive_create().await.unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
    }

    #[tokio::test]
    async fn a_directory_passes_and_the_object_hides_no_table() {
        let directory = tempfile::tempdir().unwrap();
        let lake = LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
        lake.check_exclusive_create().await.unwrap();
        lake.check_exclusive_create().await.unwrap();
        assert!(lake.tables().await.unwrap().is_empty());
    }
}
