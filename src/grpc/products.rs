//! The methods of `ProductService`: decode, call, encode.

use prost::Message as _;
use tonic::Request;

use super::{
    Context, decode, encode,
    pb::{self, product_service_server::ProductService},
    service::{Reply, answer, open, reply, required, retry},
};
use crate::{
    domain::{
        Change, ChildId, MapChange, ProductChanges, Result, Violations, page, product::not_found,
    },
    service::{
        DeleteProducts, Expected, ListProducts, Listing, PageStart, ProductDetail, ProductUpsert,
        UpsertProducts,
    },
    store::products::Filter,
};

#[derive(Debug)]
pub(super) struct Products {
    context: Context,
}

impl Products {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn upsert(
        &self,
        request: Request<pb::UpsertProductsRequest>,
    ) -> Result<pb::UpsertProductsResponse> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "UpsertProducts",
            &message.request_id,
            &message,
            |told: &Vec<ProductDetail>| upserted(told).encode_to_vec(),
        )?;
        let mut violations = Violations::default();
        let products = message.products.into_iter().enumerate();
        let products = products.filter_map(|(at, told)| upsert(at, told, &mut violations));
        let products = products.collect();
        violations.finish()?;
        let command = UpsertProducts {
            products,
            expected: Expected::Any,
            retry,
        };
        let service = &self.context.service;
        let told = service.upsert_products(&caller, command).await?;
        answer(told, |told| upserted(&told))
    }

    async fn get(&self, request: Request<pb::GetProductRequest>) -> Result<pb::Product> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let id = ChildId::parse("id", &message.id)?;
        let service = &self.context.service;
        let detail = service.get_product(&caller, id.clone()).await?;
        product(&detail).ok_or_else(|| not_found(&id))
    }

    async fn list(
        &self,
        request: Request<pb::ListProductsRequest>,
    ) -> Result<pb::ListProductsResponse> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let filter = message.filter.unwrap_or_default();
        let ids = decode::child_ids("filter.ids", &filter.ids, &mut violations);
        let collections = decode::collection_ids(
            "filter.collection_ids",
            &filter.collection_ids,
            &mut violations,
        );
        let max = self.context.service.settings().limits.page_size;
        let size = violations.take(page::size("page_size", message.page_size, max));
        violations.finish()?;
        let command = ListProducts {
            filter: Filter {
                name: (!filter.name.is_empty()).then_some(filter.name),
                ids: ids.filter(|ids| !ids.is_empty()),
                collections: (!collections.is_empty()).then_some(collections),
                told: true,
            },
            slug: None,
            start: match message.page_token.as_str() {
                "" => PageStart::First,
                token => PageStart::Token(token.into()),
            },
            size: size.unwrap_or(page::DEFAULT_SIZE),
        };
        let page = self.context.service.list_products(&caller, command).await?;
        Ok(pb::ListProductsResponse {
            products: page.products.iter().filter_map(product).collect(),
            next_page_token: page.next.unwrap_or_default(),
            total_size: encode::count(page.total),
        })
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteProductsRequest>,
    ) -> Result<pb::DeleteProductsResponse> {
        let (caller, message) = open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "DeleteProducts",
            &message.request_id,
            &message,
            |missing: &Vec<ChildId>| deleted(missing).encode_to_vec(),
        )?;
        let mut violations = Violations::default();
        let ids = decode::child_ids("ids", &message.ids, &mut violations);
        violations.finish()?;
        let command = DeleteProducts {
            ids: required("ids", ids)?,
            known_only: false,
            retry,
        };
        let service = &self.context.service;
        let missing = service.delete_products(&caller, command).await?;
        answer(missing, |missing| deleted(&missing))
    }
}

#[tonic::async_trait]
impl ProductService for Products {
    async fn upsert_products(
        &self,
        request: Request<pb::UpsertProductsRequest>,
    ) -> Reply<pb::UpsertProductsResponse> {
        reply(self.upsert(request).await)
    }

    async fn get_product(&self, request: Request<pb::GetProductRequest>) -> Reply<pb::Product> {
        reply(self.get(request).await)
    }

    async fn list_products(
        &self,
        request: Request<pb::ListProductsRequest>,
    ) -> Reply<pb::ListProductsResponse> {
        reply(self.list(request).await)
    }

    async fn delete_products(
        &self,
        request: Request<pb::DeleteProductsRequest>,
    ) -> Reply<pb::DeleteProductsResponse> {
        reply(self.delete(request).await)
    }
}

/// What the request's `at`th product is told to be.
fn upsert(at: usize, told: pb::Product, to: &mut Violations) -> Option<ProductUpsert> {
    let id = to.take(ChildId::parse(&format!("products.{at}.id"), &told.id));
    let attributes = told.attributes.unwrap_or_default();
    let attributes = decode::entries(&format!("products.{at}.attributes"), &attributes, to);
    let changes = ProductChanges {
        id: id?,
        name: told.name,
        slug: Change::Set(told.slug),
        product_type: told.r#type,
        attributes: MapChange::to(attributes),
    };
    Some(ProductUpsert {
        changes,
        collections: Listing::Same,
    })
}

fn upserted(told: &[ProductDetail]) -> pb::UpsertProductsResponse {
    pb::UpsertProductsResponse {
        products: told.iter().filter_map(product).collect(),
    }
}

fn deleted(missing: &[ChildId]) -> pb::DeleteProductsResponse {
    pb::DeleteProductsResponse {
        missing_ids: missing.iter().map(ToString::to_string).collect(),
    }
}

/// The product; none where nobody told of it.
fn product(detail: &ProductDetail) -> Option<pb::Product> {
    let product = detail.product.as_ref()?;
    let attributes = &product.attributes;
    Some(pb::Product {
        id: product.id.to_string(),
        tenant_id: detail.tenant.to_string(),
        name: product.name.clone(),
        slug: product.slug.clone(),
        r#type: product.product_type.clone(),
        attributes: (!attributes.is_empty()).then(|| encode::properties(attributes)),
        create_time: Some(encode::time(product.create_time)),
        update_time: Some(encode::time(product.update_time)),
    })
}
