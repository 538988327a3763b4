//! From the bytes of a request to the bytes of its answer.
//!
//! The data path (produce, fetch, offsets, producer ids) is ours; topics, configurations and
//! consumer groups are tansu's. Requests that neither serves are not advertised, so that a client
//! says at once what it misses: transactions, for one.

use std::sync::Arc;

use futures::future::BoxFuture;
use rama::{Context, Service as _};
use slatedb::bytes::Bytes;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_broker::service::{coordinator, storage};
use tansu_sans_io::api_versions_response::ApiVersion;
use tansu_sans_io::{
    ApiKey as _, ApiVersionsRequest, ApiVersionsResponse, Body, CreateTopicsRequest,
    DeleteGroupsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, DescribeTopicPartitionsRequest, ErrorCode, FetchRequest,
    FindCoordinatorRequest, Frame, Header, HeartbeatRequest, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest,
    RootMessageMeta, SyncGroupRequest,
};
use tansu_service::FrameRouteService;
use tansu_storage::slate::Engine;
use tokio::sync::Mutex;

use crate::error::Source;
use crate::log::Log;
use crate::{fetch, offsets, produce};

/// What clients are told they may send.
const SERVED: [i16; 22] = [
    ApiVersionsRequest::KEY,
    CreateTopicsRequest::KEY,
    DeleteGroupsRequest::KEY,
    DeleteTopicsRequest::KEY,
    DescribeClusterRequest::KEY,
    DescribeConfigsRequest::KEY,
    DescribeGroupsRequest::KEY,
    DescribeTopicPartitionsRequest::KEY,
    FetchRequest::KEY,
    FindCoordinatorRequest::KEY,
    HeartbeatRequest::KEY,
    IncrementalAlterConfigsRequest::KEY,
    InitProducerIdRequest::KEY,
    JoinGroupRequest::KEY,
    LeaveGroupRequest::KEY,
    ListGroupsRequest::KEY,
    ListOffsetsRequest::KEY,
    MetadataRequest::KEY,
    OffsetCommitRequest::KEY,
    OffsetFetchRequest::KEY,
    ProduceRequest::KEY,
    SyncGroupRequest::KEY,
];
/// Later versions of Fetch name topics by id only.
const FETCH_VERSION_MAX: i16 = 12;

type Route = FrameRouteService<(), tansu_broker::Error>;

/// An answer under way: `None` when the client wants none (a produce with acks=0).
pub(crate) type Reply = BoxFuture<'static, Result<Option<Bytes>, Source>>;

/// Everything that answers requests, shared by all connections.
pub(crate) struct Protocol {
    log: Arc<Log>,
    tansu: Route,
    /// Tansu keeps all topics under one key and gives up when two changes meet there.
    topic_change: Mutex<()>,
}

impl Protocol {
    pub(crate) fn new(log: Arc<Log>, engine: Engine) -> Result<Self, tansu_broker::Error> {
        Ok(Self {
            log,
            tansu: tansu_route(engine)?,
            topic_change: Mutex::default(),
        })
    }

    /// Starts a request. When this returns, what must keep the order of the connection has
    /// happened (appends); the reply may take longer and overlap with the next request.
    pub(crate) async fn start(self: &Arc<Self>, request: Bytes) -> Result<Reply, Source> {
        let frame = Frame::request_from_bytes(request)?;
        let header = Answer {
            key: frame.api_key()?,
            version: frame.api_version()?,
            correlation_id: frame.correlation_id()?,
        };
        if let Body::ProduceRequest(request) = frame.body {
            let wants_answer = request.acks != 0;
            let produced = produce::append(&self.log, request).await;
            let log = Arc::clone(&self.log);
            return Ok(Box::pin(async move {
                let response = produced.settle(&log).await;
                match wants_answer {
                    true => header.encode(response.into()).map(Some),
                    false => Ok(None),
                }
            }));
        }
        let this = Arc::clone(self);
        Ok(Box::pin(async move {
            let body = this.answer(frame).await?;
            header.encode(body).map(Some)
        }))
    }

    async fn answer(&self, frame: Frame) -> Result<Body, Source> {
        let body = match frame.body {
            Body::ApiVersionsRequest(_) => api_versions().into(),
            Body::FetchRequest(request) => fetch::fetch(&self.log, request).await.into(),
            Body::ListOffsetsRequest(request) => offsets::list(&self.log, request).await.into(),
            Body::InitProducerIdRequest(request) => {
                produce::init_producer_id(&self.log, request).await.into()
            }
            Body::CreateTopicsRequest(_) | Body::IncrementalAlterConfigsRequest(_) => {
                let _one_at_a_time = self.topic_change.lock().await;
                self.pass_on(frame).await?
            }
            Body::DeleteTopicsRequest(ref request) => {
                let _one_at_a_time = self.topic_change.lock().await;
                self.forget(request).await?;
                self.pass_on(frame).await?
            }
            _ => self.pass_on(frame).await?,
        };
        Ok(body)
    }

    async fn pass_on(&self, frame: Frame) -> Result<Body, Source> {
        let answer = self.tansu.serve(Context::default(), frame).await?;
        Ok(answer.body)
    }

    async fn forget(&self, request: &DeleteTopicsRequest) -> Result<(), Source> {
        let named = request.topics.iter().flatten();
        let names = named.filter_map(|topic| topic.name.as_ref());
        for name in names.chain(request.topic_names.iter().flatten()) {
            let forgotten = self.log.forget(name).await;
            forgotten.map_err(|code| format!("cannot delete topic {name}: {code}"))?;
        }
        Ok(())
    }
}

/// How a request's answer is framed.
#[derive(Clone, Copy, Debug)]
struct Answer {
    key: i16,
    version: i16,
    correlation_id: i32,
}

impl Answer {
    fn encode(self, body: Body) -> Result<Bytes, Source> {
        let header = Header::Response {
            correlation_id: self.correlation_id,
        };
        Ok(Frame::response(header, body, self.key, self.version)?)
    }
}

fn api_versions() -> ApiVersionsResponse {
    let metas = RootMessageMeta::messages().requests();
    let served = SERVED.iter().filter_map(|key| metas.get(key));
    let versions = served.map(|meta| {
        let version_max = match meta.api_key {
            FetchRequest::KEY => FETCH_VERSION_MAX,
            _ => meta.version.valid.end,
        };
        ApiVersion::default()
            .api_key(meta.api_key)
            .min_version(meta.version.valid.start)
            .max_version(version_max)
    });
    ApiVersionsResponse::default()
        .error_code(ErrorCode::None.into())
        .api_keys(Some(versions.collect()))
        .throttle_time_ms(Some(0))
        .supported_features(Some(Vec::new()))
        .finalized_features_epoch(Some(-1))
        .finalized_features(Some(Vec::new()))
        .zk_migration_ready(Some(false))
}

fn tansu_route(engine: Engine) -> Result<Route, tansu_broker::Error> {
    let groups = Controller::with_storage(engine.clone())?;
    let builder = FrameRouteService::builder();
    let builder = storage::create_topics(builder, engine.clone())?;
    let builder = storage::delete_groups(builder, engine.clone())?;
    let builder = storage::delete_topics(builder, engine.clone())?;
    let builder = storage::describe_cluster(builder, engine.clone())?;
    let builder = storage::describe_configs(builder, engine.clone())?;
    let builder = storage::describe_groups(builder, engine.clone())?;
    let builder = storage::describe_topic_partitions(builder, engine.clone())?;
    let builder = storage::find_coordinator(builder, engine.clone())?;
    let builder = storage::incremental_alter_configs(builder, engine.clone())?;
    let builder = storage::list_groups(builder, engine.clone())?;
    let builder = storage::metadata(builder, engine)?;
    let builder = coordinator::services(builder, groups)?;
    Ok(builder.build()?)
}
