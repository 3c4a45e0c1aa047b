use clap::Args;

// No doc comment, because clap would use it as the description of the whole command.
#[derive(Args, Clone, Debug)]
#[allow(missing_docs, reason = "the options are documented")]
pub struct InstancesArgs {
    /// Run this many instances of the program on the same addresses
    ///
    /// New connections are spread evenly over the instances. A reload replaces one after the other. The program finds its
    /// number, from 0, in HOTRUN_INSTANCE. See `hotrun help instances`.
    #[arg(
        long = "instances",
        value_name = "COUNT",
        default_value = "1",
        hide_short_help = true
    )]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=32))]
    pub count: u8,
}
