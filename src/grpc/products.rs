//! The methods of `ProductService`: each decodes its request, calls a use case, and encodes the
//! response.

use std::collections::BTreeSet;

use prost_types::FieldMask;
use tonic::Request;

use super::{
    context::{
        Context, Reply, SUMMARY_IDS, WriteResponse, Written, reply, reply_written, required, retry,
    },
    decode, encode,
    pb::{self, product_service_server::ProductService},
    product_details,
    product_fields::ProductFields,
};
use crate::{
    domain::{
        Change, Constraint, DetailsChanges, FieldPath, MapChange, ProductChanges, ProductFilter,
        ProductId, Result, Violations,
        field::{DetailsField, ProductPart},
        page,
        product::not_found,
    },
    service::{
        DeleteProducts, Expected, ListProducts, Listing, PageStart, ProductUpsert, UpsertProducts,
        Upserted,
    },
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
    ) -> Result<WriteResponse<pb::UpsertProductsResponse>> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "UpsertProducts",
            &message.request_id,
            &message,
            |products: &Vec<Upserted>| upserted(products),
        )?;
        let service = &self.context.service;
        let mut violations = Violations::default();
        let (count, max) = (message.products.len(), service.settings().limits.ids);
        violations.count(FieldPath::Products, count, max);
        violations.finish()?;
        let mut violations = Violations::default();
        let mask = ProductMask::parse(message.update_mask, &mut violations);
        let ids: Vec<_> = message.products.iter().map(|one| one.id.clone()).collect();
        let products = message.products.into_iter().enumerate();
        let products = products.filter_map(|(at, one)| upsert(at, one, &mask, &mut violations));
        let products = products.collect();
        violations.finish()?;
        let command = UpsertProducts {
            products,
            expected: Expected::Any,
            completion: None,
            return_collections: false,
            retry,
        };
        let mut done = self
            .context
            .execute(&caller, command, |products| upserted(&products))
            .await?;
        // A stored summary has no product ids; they are the same as in the request, in the same
        // order.
        for (result, id) in done.message.results.iter_mut().zip(ids) {
            result.product_id = id;
        }
        Ok(done)
    }

    async fn get(&self, request: Request<pb::GetProductRequest>) -> Result<pb::GetProductResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let id = ProductId::parse("product_id", &message.product_id)?;
        let service = &self.context.service;
        let detail = service.get_product(&caller, id.clone()).await?;
        let product = ProductFields::ALL.encode(&detail);
        let product = product.ok_or_else(|| not_found(&id))?;
        Ok(pb::GetProductResponse {
            product: Some(product),
        })
    }

    async fn list(
        &self,
        request: Request<pb::ListProductsRequest>,
    ) -> Result<pb::ListProductsResponse> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let mut violations = Violations::default();
        let limits = &self.context.service.settings().limits;
        let filter = message.filter.unwrap_or_default();
        violations.count(FieldPath::FilterIds, filter.ids.len(), limits.ids);
        let ids = &filter.ids[..filter.ids.len().min(limits.ids)];
        let ids = decode::product_ids("filter.ids", ids, &mut violations);
        let collections = decode::collection_ids(
            "filter.collection_ids",
            &filter.collection_ids,
            limits.ids,
            &mut violations,
        );
        let title = &filter.title_contains;
        violations.length(FieldPath::FilterTitle, title, limits.name_chars);
        let max = limits.page_size;
        let size = violations.take(page::size("page_size", message.page_size, max));
        violations.finish()?;
        let command = ListProducts {
            filter: ProductFilter {
                title: (!filter.title_contains.is_empty()).then_some(filter.title_contains),
                ids: ids.filter(|ids| !ids.is_empty()),
                collections: (!collections.is_empty()).then_some(collections),
                registered_only: true,
                ..ProductFilter::default()
            },
            include_descendants: false,
            all_there: false,
            scan: None,
            slug: None,
            start: match message.page_token.as_str() {
                "" => PageStart::First,
                token => PageStart::Token(token.into()),
            },
            size: size.unwrap_or(page::DEFAULT_SIZE),
            bytes: Some(
                self.context
                    .page_bytes(|one| ProductFields::ALL.encode(one).unwrap_or_default()),
            ),
            omit_total: message.omit_total_size,
        };
        let page = self.context.service.list_products(&caller, command).await?;
        let (products, all) = (page.products.iter(), ProductFields::ALL);
        Ok(pb::ListProductsResponse {
            products: products.filter_map(|one| all.encode(one)).collect(),
            next_page_token: page.next.unwrap_or_default(),
            total_size: encode::count(page.total),
        })
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteProductsRequest>,
    ) -> Result<WriteResponse<pb::DeleteProductsResponse>> {
        let (caller, message) = self.context.open(request, |m| &m.tenant_id)?;
        let retry = retry(
            "DeleteProducts",
            &message.request_id,
            &message,
            |missing: &Vec<ProductId>| deleted(missing),
        )?;
        let mut violations = Violations::default();
        let max = self.context.service.settings().limits.ids;
        violations.count(FieldPath::Ids, message.ids.len(), max);
        violations.finish()?;
        let mut violations = Violations::default();
        let ids = decode::product_ids("ids", &message.ids, &mut violations);
        violations.finish()?;
        let command = DeleteProducts {
            ids: required("ids", ids)?,
            known_only: false,
            retry,
        };
        self.context
            .execute(&caller, command, |missing| deleted(&missing))
            .await
    }
}

#[tonic::async_trait]
impl ProductService for Products {
    async fn upsert_products(
        &self,
        request: Request<pb::UpsertProductsRequest>,
    ) -> Reply<pb::UpsertProductsResponse> {
        reply_written(self.upsert(request).await)
    }

    async fn get_product(
        &self,
        request: Request<pb::GetProductRequest>,
    ) -> Reply<pb::GetProductResponse> {
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
        reply_written(self.delete(request).await)
    }
}

/// Which fields an upsert changes of a product that is already registered.
enum ProductMask {
    /// The fields that are set in the message.
    Set,
    /// All fields; unset ones are cleared.
    All,
    /// The fields that the mask names; unset ones of them are cleared.
    Only(BTreeSet<ProductPart>),
}

impl ProductMask {
    fn parse(mask: Option<FieldMask>, to: &mut Violations) -> Self {
        const KNOWN: &str = "title, slug, type, attributes, vendor, status, available, tags, \
                             variants, prices, inventory, product_create_time, \
                             product_update_time, or *";
        let paths = mask.map(|mask| mask.paths).unwrap_or_default();
        if paths.is_empty() {
            return Self::Set;
        }
        let mut only = BTreeSet::new();
        let mut is_all = false;
        for path in &paths {
            match path.as_str() {
                "*" => is_all = true,
                // Naming the id or a field that only the server writes is allowed, and has no
                // effect.
                "id" | "tenant_id" | "create_time" | "update_time" => {}
                path => match part(path) {
                    Some(part) => drop(only.insert(part)),
                    None => to.add("update_mask", path, Constraint::Unknown(KNOWN)),
                },
            }
        }
        if is_all { Self::All } else { Self::Only(only) }
    }

    /// The change to a field of a registered product.
    fn change<T>(&self, part: ProductPart, value: Option<T>) -> Change<T> {
        match (self, value) {
            (_, Some(value)) => Change::Set(value),
            (Self::Set, None) => Change::Keep,
            (Self::All, None) => Change::Clear,
            (Self::Only(parts), None) if parts.contains(&part) => Change::Clear,
            (Self::Only(_), None) => Change::Keep,
        }
    }

    /// The changes to the typed facts of a registered product.
    fn details(&self, given: DetailsChanges) -> DetailsChanges {
        use DetailsField as Part;
        DetailsChanges {
            vendor: self.fact(Part::Vendor, given.vendor),
            status: self.fact(Part::Status, given.status),
            available: self.fact(Part::Available, given.available),
            tags: self.fact(Part::Tags, given.tags),
            variants: self.fact(Part::Variants, given.variants),
            prices: self.fact(Part::Prices, given.prices),
            inventory: self.fact(Part::Inventory, given.inventory),
            created: self.fact(Part::Created, given.created),
            updated: self.fact(Part::Updated, given.updated),
        }
    }

    fn fact<T>(&self, field: DetailsField, given: Change<T>) -> Change<T> {
        let given = match given {
            Change::Set(value) => Some(value),
            Change::Keep | Change::Clear => None,
        };
        self.change(ProductPart::Details(field), given)
    }

    /// The fields that are written only if the product is new.
    fn only_new(&self) -> Vec<ProductPart> {
        let Self::Only(parts) = self else {
            return Vec::new();
        };
        let all = ProductPart::FIELDS.into_iter();
        all.filter(|part| !parts.contains(part)).collect()
    }
}

/// The field with this name, if clients may write it.
fn part(path: &str) -> Option<ProductPart> {
    use DetailsField as Part;
    let details = match path {
        "title" => return Some(ProductPart::Title),
        "slug" => return Some(ProductPart::Slug),
        "type" => return Some(ProductPart::Type),
        "attributes" => return Some(ProductPart::Attributes),
        "vendor" => Part::Vendor,
        "status" => Part::Status,
        "available" => Part::Available,
        "tags" => Part::Tags,
        "variants" => Part::Variants,
        "prices" => Part::Prices,
        "inventory" => Part::Inventory,
        "product_create_time" => Part::Created,
        "product_update_time" => Part::Updated,
        _ => return None,
    };
    Some(ProductPart::Details(details))
}

/// Decodes the product at index `at` of the request.
fn upsert(
    at: usize,
    mut product: pb::Product,
    mask: &ProductMask,
    to: &mut Violations,
) -> Option<ProductUpsert> {
    let field = FieldPath::Product(at, ProductPart::Id);
    let id = to.take(ProductId::parse(field, &product.id));
    let field = FieldPath::Product(at, ProductPart::Attributes);
    let attributes = product.attributes.as_ref();
    let attributes = attributes.map(|attributes| decode::entries(&field, attributes, to));
    let details = product_details::decode(at, &mut product, to);
    let given = |text: String| (!text.is_empty()).then_some(text);
    let changes = ProductChanges {
        id: id?,
        title: mask.change(ProductPart::Title, given(product.title)),
        slug: mask.change(ProductPart::Slug, given(product.slug)),
        product_type: mask.change(ProductPart::Type, given(product.r#type)),
        attributes: match mask.change(ProductPart::Attributes, attributes) {
            Change::Keep => MapChange::default(),
            Change::Set(entries) => MapChange::to(entries),
            Change::Clear => MapChange::to([]),
        },
        details: mask.details(details),
        only_new: mask.only_new(),
    };
    Some(ProductUpsert {
        changes,
        collections: Listing::Same,
    })
}

/// Decodes a product that is not registered, as if it were created from this message.
pub(super) fn draft(product: pb::Product, to: &mut Violations) -> Option<ProductChanges> {
    let upsert = upsert(0, product, &ProductMask::All, to)?;
    Some(upsert.changes)
}

impl Written for pb::UpsertProductsResponse {
    fn summary(mut self) -> Self {
        for result in &mut self.results {
            result.product_id.clear();
        }
        self
    }
}

impl Written for pb::DeleteProductsResponse {
    fn summary(mut self) -> Self {
        self.missing_ids.truncate(SUMMARY_IDS);
        self
    }
}

fn upserted(products: &[Upserted]) -> pb::UpsertProductsResponse {
    let results = products.iter().map(|one| pb::UpsertProductResult {
        product_id: one.detail.id.to_string(),
        created: one.created,
        update_time: one
            .detail
            .product
            .as_ref()
            .map(|product| encode::time(product.update_time)),
    });
    pb::UpsertProductsResponse {
        results: results.collect(),
    }
}

fn deleted(missing: &[ProductId]) -> pb::DeleteProductsResponse {
    pb::DeleteProductsResponse {
        missing_ids: missing.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_path_counts_once() {
        let paths = ["slug", "title", "id"].map(str::to_owned);
        let paths: Vec<_> = paths.into_iter().cycle().take(30_000).collect();
        let mut violations = Violations::default();
        let mask = ProductMask::parse(Some(FieldMask { paths }), &mut violations);
        violations.finish().unwrap();
        let only = BTreeSet::from([ProductPart::Title, ProductPart::Slug]);
        assert!(matches!(mask, ProductMask::Only(parts) if parts == only));
    }
}
