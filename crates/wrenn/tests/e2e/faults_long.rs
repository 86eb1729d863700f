//! Every fault that is no death, in every step of every operation, over real virtual machines: what the agent's own kill
//! matrix does in a minute over machines that are none takes half an hour here. Deaths are tried every day: see `faults`.

use crate::fault_walks::every_step_of_every_operation;

#[tokio::test]
#[ignore = "long: make test-long"]
async fn every_step_may_fail() {
    every_step_of_every_operation(&["error"]).await;
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn every_step_may_panic() {
    every_step_of_every_operation(&["panic"]).await;
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn every_step_may_hang() {
    every_step_of_every_operation(&["hang"]).await;
}
