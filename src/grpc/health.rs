//! The standard gRPC health checking protocol, `grpc.health.v1`: `Check`, `List` and `Watch`. The
//! statuses are set by `http::health`.

use std::{future::ready, pin::Pin};

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::pb::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus, health_server::Health,
};

/// The services whose status can be asked for, besides `""` for the whole server.
const SERVICE_NAMES: [&str; 3] = [
    "endcap.v1.CollectionService",
    "endcap.v1.ProductService",
    "endcap.v1.RuleService",
];
/// A service name that is SERVING as long as the process lives, for liveness probes.
const LIVENESS: &str = "liveness";

/// The serving status of the services, with subscriptions to its changes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Statuses(watch::Sender<Serving>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Serving {
    is_serving: bool,
    /// Whether `Watch` streams are to end, because the server shuts down.
    has_ended: bool,
}

impl Serving {
    /// The status of a service; `None` if the service is unknown.
    fn of(self, service: &str) -> Option<ServingStatus> {
        if service == LIVENESS {
            return Some(ServingStatus::Serving);
        }
        let is_known = service.is_empty() || SERVICE_NAMES.contains(&service);
        is_known.then_some(if self.is_serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        })
    }
}

impl Default for Statuses {
    fn default() -> Self {
        let starting = Serving {
            is_serving: false,
            has_ended: false,
        };
        Self(watch::Sender::new(starting))
    }
}

impl Statuses {
    /// Sets whether clients should send requests to the services.
    pub fn set(&self, is_serving: bool) {
        self.0
            .send_modify(|serving| serving.is_serving = is_serving);
    }

    /// Ends all `Watch` streams, so that they don't hold up the shutdown.
    pub fn end(&self) {
        self.0.send_modify(|serving| serving.has_ended = true);
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for Statuses {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.0.borrow().of(&request.get_ref().service);
        let unknown = || Status::not_found("unknown service");
        Ok(Response::new(response(status.ok_or_else(unknown)?)))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let serving = *self.0.borrow();
        let names = SERVICE_NAMES.into_iter().chain(["", LIVENESS]);
        let statuses =
            names.filter_map(|name| Some((name.to_owned(), response(serving.of(name)?))));
        Ok(Response::new(HealthListResponse {
            statuses: statuses.collect(),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let start = (self.0.subscribe(), true, false);
        let all = stream::unfold(start, async |(mut receiver, is_first, has_ended)| {
            if has_ended {
                return None;
            }
            if !is_first {
                receiver.changed().await.ok()?;
            }
            let serving = *receiver.borrow_and_update();
            Some((serving, (receiver, false, serving.has_ended)))
        });
        let statuses = all.map(move |serving| {
            serving
                .of(&service)
                .unwrap_or(ServingStatus::ServiceUnknown)
        });
        // A status is sent only when it differs from the last one sent.
        let mut last = None;
        let changed = statuses.filter_map(move |status| {
            ready((last.replace(status) != Some(status)).then(|| Ok(response(status))))
        });
        Ok(Response::new(changed.boxed()))
    }
}
