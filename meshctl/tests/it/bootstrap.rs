//! `meshctl bootstrap`: committed bootstraps, a real Envoy's opinion of them, and refused command lines.

use std::process::Command;

use crate::support::{Outcome, assert_golden, meshctl, real};

const CASES: [(&str, &[&str]); 5] = [
    (
        "sidecar",
        &[
            "--role=sidecar",
            "--system=trading",
            "--id=0f3c",
            "--service=orders=20000:8080:http",
            "--service=orders-admin=20001:8081",
            "--egress=15001",
            "--upstreams=quotes, ledger-db=15432, positions.portfolio",
            "--host=10.0.0.7",
            "--stats=20002",
            "--admin=19000",
            "--xds=10.0.0.5:18000,10.0.0.6:18000",
        ],
    ),
    (
        "sidecar-egress-only-sotw",
        &[
            "--role=sidecar",
            "--system=trading",
            "--id=12e5",
            "--cluster=nightly-batch",
            "--egress=15001",
            "--xds=control-plane.service.consul:18000",
            "--sotw",
        ],
    ),
    (
        "gateway",
        &[
            "--role=gateway",
            "--system=trading",
            "--id=77aa",
            "--service=trading-gateway=21000",
            "--ingress=21001",
            "--stats=21002",
            "--bind=10.0.0.7",
            "--xds=10.0.0.5:18000",
        ],
    ),
    (
        "router",
        &[
            "--role=router",
            "--id=edge-1",
            "--service=router=10080",
            "--stats=10081",
            "--xds=10.0.0.5:18000,control-plane:18000",
        ],
    ),
    (
        "ipv6",
        &[
            "--role=sidecar",
            "--system=trading",
            "--id=on",
            "--service=orders=20000:8080",
            "--bind=::",
            "--stats=20001",
            "--xds=[2001:db8::5]:18000",
        ],
    ),
];

async fn bootstrap(arguments: &[&str]) -> Outcome {
    meshctl(&[&["bootstrap"], arguments].concat()).await
}

#[tokio::test]
async fn each_role_has_the_committed_bootstrap() {
    for (name, arguments) in CASES {
        assert_golden(&format!("bootstrap/{name}.yaml"), &bootstrap(arguments).await.out);
    }
}

#[tokio::test]
async fn a_real_envoy_accepts_each_bootstrap_without_a_warning_about_deprecated_fields() {
    let Some(envoy) = real("envoy", "AYATORI_ENVOY") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in CASES {
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, bootstrap(arguments).await.out).unwrap();
        let output = Command::new(&envoy)
            .args(["--mode", "validate", "--log-level", "warning", "--config-path"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        assert!(!said.contains("deprecated"), "{name}: {said}");
        assert!(!said.contains("no configured limit"), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_work_is_a_usage_failure_with_the_reason() {
    let xds = "--xds=10.0.0.5:18000";
    for (arguments, reason) in [
        (vec!["--role=sidecar", "--id=a", "--service=orders=1:2", xds], "`system` is missing"),
        (
            vec!["--role=sidecar", "--system=t", "--id=a", "--service=orders=1", xds],
            "a sidecar's service needs `app`",
        ),
        (vec!["--role=gateway", "--system=t", "--id=a", "--cluster=g", xds], "one service"),
        (
            vec!["--role=gateway", "--system=t", "--id=a", "--service=g=1:2", xds],
            "both `app` and `egress`",
        ),
        (
            vec!["--role=router", "--id=a", "--service=r=1:2", xds],
            "no application behind it, write r=1",
        ),
        (vec!["--role=router", "--id=a", "--service=r=1", "--https=2", xds], "--certificate"),
        (
            vec!["--role=sidecar", "--system=t", "--id=a", "--service=o=1:2", "--ingress=3", xds],
            "--ingress is a gateway's",
        ),
        (
            vec!["--role=sidecar", "--system=t", "--id=a", "--service=o=1:2", "--stats=2", xds],
            "--stats 2 is taken",
        ),
        (vec!["--role=sidecar", "--system=t", "--id=a", "--egress=1", xds], "--cluster is missing"),
        (
            vec!["--role=sidecar", "--system=t", "--id=a", "--service=o=1:2", "--egress=2", xds],
            "--egress 2 is the application's own port",
        ),
        (vec!["--role=router", "--id=a", "--service=r=0", xds], "is not a port"),
        (vec!["--role=router", "--id=a", "--service=r=80", "--xds=nowhere"], "write HOST:PORT"),
    ] {
        let outcome = bootstrap(&arguments).await;
        assert_eq!(outcome.exit_code(), 2);
        assert!(outcome.failure().contains(reason), "{arguments:?}: {outcome:?}");
    }
}
