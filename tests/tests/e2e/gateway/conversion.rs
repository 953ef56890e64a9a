//! gRPC services are called as REST, through Router, gateway, the application and sidecars.
//!
//! One mesh for all of it: `stock` is a gRPC service of a schema that the test brings, `mute` the same without reflection,
//! `torn` with reflection that lacks a file, `quotes` the sample, `orders` no gRPC service at all.
#![expect(clippy::indexing_slicing, reason = "a test's failure is a panic")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use contract::registration::Protocol;
use http::{Request, header};
use lab::http::Answer;
use lab::placer::ServiceSpec;

use crate::scene::{LOCAL, Scene};

mod calls;
mod pages;
mod refusals;
mod streams;
mod update;

const DOCUMENT: &str = "\
kind: System
name: trading
default_auth: none
routes:
- {match: {prefix: /v1/quotes}, to: quotes, convert: {grpc: [quotes.v1.Quotes]}}
- {match: {prefix: /quotes.v1.Quotes}, to: quotes, convert: {grpc: [quotes.v1.Quotes]}}
- {match: {prefix: /v1}, to: stock, convert: {grpc: [stock.v1.Stock, stock.v1.Plain]}}
- {match: {prefix: /stock.v1.Plain}, to: stock, convert: {grpc: [stock.v1.Stock, stock.v1.Plain]}}
- {match: {prefix: /brief}, to: stock, rewrite: /, timeout: 3s, convert: {grpc: [stock.v1.Stock]}}
- {match: {prefix: /mute}, to: mute, rewrite: /, convert: {grpc: [stock.v1.Stock]}}
- {match: {prefix: /filed}, to: mute, rewrite: /, convert: {grpc: [stock.v1.Stock], descriptors: stock.binpb}}
- {match: {prefix: /missing}, to: mute, rewrite: /, convert: {grpc: [stock.v1.Stock], descriptors: missing.binpb}}
- {match: {prefix: /torn}, to: torn, rewrite: /, convert: {grpc: [stock.v1.Stock]}}
- {match: {prefix: /other}, to: stock, rewrite: /, convert: {grpc: [stock.v1.Shop]}}
- {match: {prefix: /web}, to: orders, rewrite: /, convert: {grpc: [stock.v1.Stock]}}
";

/// A mesh with [`DOCUMENT`] in force.
struct Shop {
    scene: Scene,
    schemas: Schemas,
}

/// The schema before and after an update, as encoded descriptor sets.
struct Schemas {
    one: PathBuf,
    two: PathBuf,
}

impl Schemas {
    fn compile(dir: &Path) -> Self {
        let compile = |version: &str| {
            let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("protos");
            let google = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/proto");
            let includes = [protos.join(version), protos.join("common"), google];
            let mut compiler = protox::Compiler::new(includes).unwrap();
            compiler.include_imports(true).include_source_info(true);
            compiler.open_file("stock/v1/stock.proto").unwrap();
            let path = dir.join(format!("schema-{version}.binpb"));
            std::fs::write(&path, compiler.encode_file_descriptor_set()).unwrap();
            path
        };
        Self { one: compile("one"), two: compile("two") }
    }
}

impl Shop {
    async fn open(test: &str) -> Option<Self> {
        let mut scene = Scene::with_consul(test, |options| options.control_planes = 1).await?;
        let schemas = Schemas::compile(scene.dir());
        let quotes = scene.parts.our("quotes").unwrap();
        let services = [
            ServiceSpec::api_gateway("trading"),
            ServiceSpec::new("trading", "quotes", Protocol::Grpc, quotes),
            stock("stock", &schemas.one),
            stock("mute", &schemas.one).with_arg("--reflection=nothing"),
            stock("torn", &schemas.one).with_arg("--reflection=torn"),
            scene.orders(),
        ];
        scene.world.place(&services).await.unwrap();
        scene.world.apply("trading", DOCUMENT).await.unwrap();
        let shop = Self { scene, schemas };
        shop.scene.answers("/trading/v1/items/ready", 200, "instance").await;
        Some(shop)
    }

    /// Asks the Router, below the System's name.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let json = (header::CONTENT_TYPE.as_str(), "application/json");
        let mut request = Request::builder().method(method).uri(format!("/trading{path}"));
        request = request.header(header::HOST, LOCAL);
        let content = (!body.is_empty()).then_some(&json);
        for (name, value) in content.into_iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let router = self.scene.world.router_address();
        self.scene.world.client().exchange(router, request, body).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// What the only instance of a service calls itself.
    fn instance<'a>(&'a self, name: &'a str) -> &'a str {
        self.scene.world.instances_of(name).next().unwrap().instance()
    }
}

/// An instance of a gRPC service of this schema.
fn stock(name: &str, schema: &Path) -> ServiceSpec {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_stock"));
    ServiceSpec::new("trading", name, Protocol::Grpc, program)
        .with_arg(format!("--schema={}", schema.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_service_answers_rest_through_router_and_gateway() {
    let test = "a_grpc_service_answers_rest_through_router_and_gateway";
    let Some(mut shop) = Shop::open(test).await else { return };
    calls::check(&shop).await;
    streams::check(&shop).await;
    refusals::check(&shop).await;
    pages::check(&shop).await;
    update::check(&mut shop).await;
    shop.scene.end().await;
}
