//! Reads how much memory is available, and how much processes hold. All sizes are in bytes.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{SysconfVar, sysconf};

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Returns how much memory new processes may use: what the system has left without swapping (`MemAvailable`,
/// `proc_meminfo(5)`), or what the limit of a cgroup leaves if that is less. `None` if the system does not report it.
pub fn available() -> Option<u64> {
    if let Some(bytes) = super::test_hook("MEMORY_AVAILABLE") {
        return bytes.parse().ok();
    }
    let system = kib(&read("/proc/meminfo")?, "MemAvailable:")?;
    let own = read("/proc/self/cgroup");
    let own = own.as_deref().and_then(|text| field(text, "0::/"));
    let limit = own.and_then(|path| left_in_cgroups(Path::new(CGROUPS), Path::new(path)));
    Some(limit.map_or(system, |left| left.min(system)))
}

/// Returns what the limits of this cgroup and those around it leave, if there are any (cgroup v2, `memory.max`). Memory
/// that caches files and was not used recently counts as left, because the kernel frees it before the limit matters.
fn left_in_cgroups(root: &Path, own: &Path) -> Option<u64> {
    let left = |path: &Path| {
        let directory: PathBuf = root.join(path);
        let number = |name| read(directory.join(name))?.trim().parse::<u64>().ok();
        // `max` is no number: there is no limit.
        let (most, current) = (number("memory.max")?, number("memory.current")?);
        let cache = read(directory.join("memory.stat"));
        let cache = cache.and_then(|text| field(&text, "inactive_file ")?.parse().ok());
        Some(most.saturating_sub(current.saturating_sub(cache.unwrap_or(0))))
    };
    own.ancestors().filter_map(left).min()
}

/// Returns how much memory this process uses, including all that it shares (`proc_pid_statm(5)`). Takes microseconds.
pub fn resident(pid: i32) -> Option<u64> {
    let text = read(format!("/proc/{pid}/statm"))?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten()?;
    Some(pages * u64::try_from(size).ok()?)
}

/// Returns how much memory this process uses, except that of files, which another process can share. What it already
/// shares counts in proportion (`Pss`, `proc_pid_smaps(5)`). Takes up to 100 ms for a large process.
pub fn unshared(pid: i32) -> Option<u64> {
    let text = read(format!("/proc/{pid}/smaps_rollup"))?;
    let files = kib(&text, "Pss_File:").unwrap_or(0);
    Some(kib(&text, "Pss:")?.saturating_sub(files))
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The rest of the line that begins with this name.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let number = field(text, name)?.trim().strip_suffix(" kB")?;
    Some(number.parse::<u64>().ok()? * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_of_a_cgroup_and_those_around_it_counts() {
        let root = tempfile::tempdir().unwrap();
        let own = Path::new("outer/inner");
        fs::create_dir_all(root.path().join(own)).unwrap();
        assert_eq!(left_in_cgroups(root.path(), own), None);
        let set = |path: &str, most: &str, current: &str, stat: &str| {
            let write = |name, text| fs::write(root.path().join(path).join(name), text).unwrap();
            write("memory.max", most);
            write("memory.current", current);
            write("memory.stat", stat);
        };
        set("outer/inner", "max\n", "700\n", "anon 1\n");
        assert_eq!(left_in_cgroups(root.path(), own), None);
        set("outer", "1000\n", "900\n", "anon 1\ninactive_file 300\n");
        assert_eq!(left_in_cgroups(root.path(), own), Some(400));
        set("outer/inner", "800\n", "700\n", "inactive_file 0\n");
        assert_eq!(left_in_cgroups(root.path(), own), Some(100));
    }

    #[test]
    fn a_process_uses_no_more_than_is_resident() {
        let own = i32::try_from(std::process::id()).unwrap();
        let memory = std::hint::black_box(vec![1_u8; 32 << 20]);
        let (resident, unshared) = (resident(own).unwrap(), unshared(own).unwrap());
        assert!(
            unshared > 32 << 20 && unshared <= resident,
            "{unshared}, {resident}"
        );
        assert!(available().unwrap() > 0);
        drop(memory);
    }
}
