//! From the bytes of a request to the bytes of its answer.
//!
//! The data path (produce, fetch, offsets, producer ids), the making of topics and consumer groups
//! are ours; metadata, configurations and committed offsets are tansu's.

use std::sync::Arc;

use futures::future::BoxFuture;
use rama::{Context, Service as _};
use slatedb::bytes::Bytes;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_broker::service::{coordinator, storage};
use tansu_sans_io::{Body, DeleteTopicsRequest, Frame, Header};
use tansu_service::FrameRouteService;
use tansu_storage::slate::Engine;
use tokio::sync::Mutex;

use crate::error::Source;
use crate::groups::Groups;
use crate::log::Log;
use crate::{commits, fetch, membership, offsets, produce, roster, topic, versions};

type Route = FrameRouteService<(), tansu_broker::Error>;

/// An answer under way: `None` when the client wants none (a produce with acks=0).
pub(crate) type Reply = BoxFuture<'static, Result<Option<Bytes>, Source>>;

/// Everything that answers requests, shared by all connections.
pub(crate) struct Protocol {
    log: Arc<Log>,
    engine: Engine,
    groups: Groups,
    tansu: Route,
    topics: Topics,
    /// Tansu keeps all topics under one key and gives up when two changes meet there.
    topic_change: Mutex<()>,
}

/// How topics come to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topics {
    /// Partitions of a topic whose creator does not say.
    pub(crate) partitions_default: i32,
    /// Whether a client that wants to produce to a missing topic gets it.
    pub(crate) on_demand: bool,
}

impl Protocol {
    pub(crate) fn new(
        log: Arc<Log>,
        engine: Engine,
        topics: Topics,
    ) -> Result<Self, tansu_broker::Error> {
        Ok(Self {
            log,
            groups: Groups::default(),
            tansu: tansu_route(engine.clone())?,
            engine,
            topics,
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
            Body::ApiVersionsRequest(_) => versions::served().into(),
            Body::FetchRequest(request) => fetch::fetch(&self.log, request).await.into(),
            Body::ListOffsetsRequest(request) => offsets::list(&self.log, request).await.into(),
            Body::InitProducerIdRequest(request) => {
                produce::init_producer_id(&self.log, request).await.into()
            }
            Body::CreateTopicsRequest(request) => {
                let _one_at_a_time = self.topic_change.lock().await;
                let partitions = self.topics.partitions_default;
                topic::create(&self.log, request, partitions).await.into()
            }
            Body::MetadataRequest(ref request) => {
                if self.topics.on_demand {
                    let _one_at_a_time = self.topic_change.lock().await;
                    let partitions = self.topics.partitions_default;
                    topic::create_missing(&self.log, request, partitions).await;
                }
                let mut body = self.pass_on(frame).await?;
                if let Body::MetadataResponse(response) = &mut body {
                    topic::name_the_impossible(response);
                }
                body
            }
            Body::IncrementalAlterConfigsRequest(_) => {
                let _one_at_a_time = self.topic_change.lock().await;
                self.pass_on(frame).await?
            }
            Body::DeleteTopicsRequest(ref request) => {
                let _one_at_a_time = self.topic_change.lock().await;
                self.forget(request).await?;
                self.pass_on(frame).await?
            }
            Body::JoinGroupRequest(_)
            | Body::SyncGroupRequest(_)
            | Body::HeartbeatRequest(_)
            | Body::LeaveGroupRequest(_)
            | Body::OffsetCommitRequest(_)
            | Body::ListGroupsRequest(_)
            | Body::DescribeGroupsRequest(_)
            | Body::DeleteGroupsRequest(_) => self.answer_of_group(frame).await?,
            _ => self.pass_on(frame).await?,
        };
        Ok(body)
    }

    async fn answer_of_group(&self, frame: Frame) -> Result<Body, Source> {
        let version = frame.api_version()?;
        let client = frame.client_id()?.unwrap_or("consumer").to_owned();
        let (groups, engine) = (&self.groups, &self.engine);
        let body = match frame.body {
            Body::JoinGroupRequest(request) => membership::join(groups, request, &client, version)
                .await
                .into(),
            Body::SyncGroupRequest(request) => membership::sync(groups, request).await.into(),
            Body::HeartbeatRequest(request) => membership::heartbeat(groups, request).into(),
            Body::LeaveGroupRequest(request) => membership::leave(groups, request).into(),
            Body::OffsetCommitRequest(request) => {
                commits::commit(groups, engine, request).await.into()
            }
            Body::ListGroupsRequest(request) => roster::list(groups, engine, request).await.into(),
            Body::DescribeGroupsRequest(request) => {
                roster::describe(groups, engine, request).await.into()
            }
            Body::DeleteGroupsRequest(request) => {
                roster::delete(groups, engine, request).await.into()
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
pub(crate) struct Answer {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
}

impl Answer {
    pub(crate) fn encode(self, body: Body) -> Result<Bytes, Source> {
        let header = Header::Response {
            correlation_id: self.correlation_id,
        };
        Ok(Frame::response(header, body, self.key, self.version)?)
    }
}

fn tansu_route(engine: Engine) -> Result<Route, tansu_broker::Error> {
    let groups = Controller::with_storage(engine.clone())?;
    let builder = FrameRouteService::builder();
    let builder = storage::delete_topics(builder, engine.clone())?;
    let builder = storage::describe_cluster(builder, engine.clone())?;
    let builder = storage::describe_configs(builder, engine.clone())?;
    let builder = storage::describe_topic_partitions(builder, engine.clone())?;
    let builder = storage::find_coordinator(builder, engine.clone())?;
    let builder = storage::incremental_alter_configs(builder, engine.clone())?;
    let builder = storage::metadata(builder, engine)?;
    let builder = coordinator::offset_fetch(builder, groups)?;
    Ok(builder.build()?)
}
