// What surrounds the examples in the documentation of the embedded handle: a node of its own for each,
// in a directory that goes with it.

fn run<F>(example: F) -> Result<(), keystead::Error>
where
    F: AsyncFnOnce(keystead::Keystead) -> Result<(), keystead::Error>,
{
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = keystead::Options::new(directory.path()).configure(|config| {
        config.shards = 2;
        config.segment_bytes = 1 << 20;
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = keystead::Keystead::start(options).await?;
        example(store.clone()).await?;
        store.shutdown().await
    })
}
