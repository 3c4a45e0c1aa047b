//! The service of tonic's `helloworld` example, described here so that no `protoc` is needed.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let say_hello = Method::builder()
        .name("say_hello")
        .route_name("SayHello")
        .input_type("crate::GreetingRequest")
        .output_type("crate::GreetingReply")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let greeter = Service::builder()
        .name("Greeter")
        .package("helloworld")
        .method(say_hello)
        .build();
    Builder::new().compile(&[greeter]);
}
