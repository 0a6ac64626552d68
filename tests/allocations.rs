//! What a delivery allocates, natively: counts that neither load nor clock can change.
//!
//! With the doubles of the ports in them, so that they are an upper bound. A number that must grow for a good reason is raised
//! here, knowingly.

mod support;

use allocation_counter::{AllocationInfo, measure, opt_out};
use patchbay::http::Method;
use patchbay::ports::Packer;
use serde_json::json;
use support::scene::{SECRET, mac};
use support::{Brotli, World};

const KIB: u64 = 1024;

/// The compressor, without what it allocates for itself: in production that is the platform's.
struct Uncounted;

impl Packer for Uncounted {
    fn pack(&self, bytes: &[u8]) -> Option<String> {
        let mut packed = None;
        opt_out(|| packed = Brotli.pack(bytes));
        packed
    }
    fn unpack(&self, text: &str, most: usize) -> Option<Vec<u8>> {
        Brotli.unpack(text, most)
    }
}

/// A delivery of about so many bytes, on a path that has been gone before. A refused one has a wrong signature.
fn delivery(world: &World, id: &str, kib: u64, refused: bool) -> AllocationInfo {
    let filler = "It fails.\\nSometimes it says \"no\". ".repeat(usize::try_from(kib * KIB / 36).unwrap_or_default());
    let body = json!({"action": "created", "repository": {"full_name": "o/r"}, "comment": {"id": 5, "body": filler}});
    let body = body.to_string().into_bytes();
    let signature = format!("sha256={}", if refused { "0".repeat(64) } else { mac(SECRET, &body) });
    let headers = [
        ("content-type", "application/json"),
        ("x-github-delivery", id),
        ("x-github-event", "issue_comment"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    let mut status = 0;
    let info = measure(|| {
        status = world.request(Method::Post, "/webhooks/github", &headers, &body).status;
    });
    assert_eq!(status, if refused { 401 } else { 202 });
    info
}

#[test]
fn what_a_delivery_allocates_is_bounded_and_its_size_only_copied_a_few_times() {
    let world = World {
        packer: Box::new(Uncounted),
        ..World::new()
    };
    world.set("GITHUB_WEBHOOK_SECRET", SECRET);
    delivery(&world, "first", 1, false);
    delivery(&world, "second", 1, true);
    // Refused or not, KiB of the body, most allocations, most copies of the body (the doubles make two: one to hand it over, one
    // as the row's parameter, unless it is packed). A refusal is held against the published document within that too.
    let cases = [
        (true, 12, 190, 3),
        (true, 256, 190, 3),
        (false, 12, 220, 6),
        (false, 256, 220, 5),
    ];
    for (at, (refused, kib, most, copies)) in cases.into_iter().enumerate() {
        let info = delivery(&world, &format!("d-{at}"), kib, refused);

        let told = format!(
            "refused {refused}, {kib} KiB: {} allocations, {} bytes",
            info.count_total, info.bytes_total
        );
        assert!(info.count_total <= most, "{told}");
        assert!(info.bytes_total <= copies * kib * KIB + 64 * KIB, "{told}");
    }
}
