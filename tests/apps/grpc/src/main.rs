//! `grpc serve ADDRESS` runs tonic's greeter with graceful shutdown. `grpc call ADDRESS` calls it over one channel
//! until standard input ends. `grpc recycle ADDRESS` runs a greeter that closes each connection gracefully after half a
//! second, and keeps running.

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use greeter::greeter_client::GreeterClient;
use greeter::greeter_server::{Greeter, GreeterServer};

mod greeter {
    include!(concat!(env!("OUT_DIR"), "/helloworld.Greeter.rs"));
}

/// How many calls are in flight at a time, and how long the server takes for each call.
const CALLERS: usize = 10;
const TAKES: Duration = Duration::from_millis(5);

/// The age at which a connection is recycled.
const AGE: Duration = Duration::from_millis(500);

#[derive(Clone, PartialEq, prost::Message)]
struct GreetingRequest {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GreetingReply {
    #[prost(string, tag = "1")]
    message: String,
}

struct MyGreeter;

#[tonic::async_trait]
impl Greeter for MyGreeter {
    async fn say_hello(
        &self,
        request: Request<GreetingRequest>,
    ) -> Result<Response<GreetingReply>, Status> {
        tokio::time::sleep(TAKES).await;
        Ok(Response::new(GreetingReply {
            message: format!("Hello {}!", request.into_inner().name),
        }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    match &words[..] {
        [what, address] if what == "serve" => serve(Server::builder(), address).await,
        [what, address] if what == "recycle" => {
            serve(Server::builder().max_connection_age(AGE), address).await
        }
        [what, address] if what == "call" => call(address).await,
        _ => Err("grpc serve|recycle|call ADDRESS".into()),
    }
}

async fn serve(mut server: Server, address: &str) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    server
        .add_service(GreeterServer::new(MyGreeter))
        .serve_with_shutdown(address.parse()?, async move {
            terminate.recv().await;
        })
        .await?;
    Ok(())
}

/// The results of one caller.
#[derive(Default)]
struct Count {
    answered: u64,
    failures: Vec<String>,
    took: Vec<Duration>,
}

async fn call(address: &str) -> Result<(), Box<dyn Error>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| tokio::spawn(call_on(channel.clone(), n, Arc::clone(&stop))))
        .collect();
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    stop.store(true, Ordering::Relaxed);
    let mut all = Count::default();
    for caller in callers {
        let count = caller.await?;
        all.answered += count.answered;
        all.failures.extend(count.failures);
        all.took.extend(count.took);
    }
    all.took.sort_unstable();
    let at = |share: f64| all.took[((all.took.len() - 1) as f64 * share) as usize];
    println!("answered {}", all.answered);
    println!("failed {}", all.failures.len());
    println!(
        "latency p50 {:.1?}, p99.9 {:.1?}, worst {:.1?}",
        at(0.5),
        at(0.999),
        at(1.0)
    );
    for failure in all.failures {
        println!("{failure}");
    }
    Ok(())
}

async fn call_on(channel: Channel, n: usize, stop: Arc<AtomicBool>) -> Count {
    let mut client = GreeterClient::new(channel);
    let mut count = Count::default();
    let name = format!("caller {n}");
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let request = Request::new(GreetingRequest { name: name.clone() });
        match client.say_hello(request).await {
            // The word before the name may differ between versions.
            Ok(reply) if reply.get_ref().message.ends_with(&format!(" {name}!")) => {
                count.answered += 1;
                count.took.push(began.elapsed());
            }
            Ok(reply) => count.failures.push(format!("a wrong reply: {reply:?}")),
            Err(status) => {
                count.failures.push(format!("{status:?}"));
                // A channel without a connection fails at once. Without a pause, the failures would use up all memory.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    count
}
