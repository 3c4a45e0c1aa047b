/// The value of the test hook `name`, which an integration test sets as the environment variable `HOTRUN_TEST_name`.
///
/// Builds without the feature `test-hooks`, such as releases, have no hooks.
pub fn test_hook(name: &str) -> Option<String> {
    #[cfg(feature = "test-hooks")]
    return std::env::var(format!("HOTRUN_TEST_{name}")).ok();
    #[cfg(not(feature = "test-hooks"))]
    {
        let _ = name;
        None
    }
}
