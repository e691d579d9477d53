#include "discovery/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace sollol::discovery {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t file_bytes_max = 16u << 20;

std::unexpected<Error> cannot(std::string_view what, const std::string& path, int error) {
  return std::unexpected(bad_input(
      fmt::format("cannot {} {}: {}", what, path, std::generic_category().message(error))));
}

/// An open file that is closed when it goes.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

/// 0, or the errno of the step that failed.
int write_and_sync(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return ::fsync(fd) == 0 ? 0 : errno;
}

/// The file that `path` leads to: what a link points at, else itself.
fs::path follow(const std::string& path) {
  std::error_code error;
  const auto target = fs::weakly_canonical(path, error);
  return error ? fs::path(path) : target;
}

}  // namespace

std::string expand_home(std::string_view path, const Environment& environment) {
  if (path != "~" && !path.starts_with("~/")) return std::string(path);
  const auto home = environment.get("HOME");
  if (!home || home->empty()) return std::string(path);
  return *home + std::string(path.substr(1));
}

Result<std::string> read_file(const std::string& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    return std::unexpected(
        Error{ErrorKind::not_found, Origin::client, Retry::never, "no such file: " + path});
  }
  if (error) return cannot("read", path, error.value());
  if (fs::is_directory(status)) return cannot("read", path, EISDIR);
  std::ifstream file(path, std::ios::binary);
  if (!file) return cannot("read", path, errno);
  std::string text;
  for (char block[65536]; file.read(block, sizeof block), file.gcount() > 0;) {
    text.append(block, static_cast<std::size_t>(file.gcount()));
    if (text.size() > file_bytes_max) return cannot("read", path, EFBIG);
  }
  return text;
}

Result<void> write_file_atomically(const std::string& path, std::string_view text) {
  const auto target = follow(path);
  std::error_code error;
  if (target.has_parent_path()) fs::create_directories(target.parent_path(), error);
  const auto beside = fmt::format("{}.{}.tmp", target.string(), ::getpid());
  const auto fail = [&](int number) {
    ::unlink(beside.c_str());
    return cannot("write", path, number);
  };
  {
    const Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0) return cannot("write", path, errno);
    struct stat old{};
    if (::stat(target.c_str(), &old) == 0 && ::fchmod(file.get(), old.st_mode & 07777) != 0)
      return fail(errno);
    if (const int number = write_and_sync(file.get(), text); number != 0) return fail(number);
  }
  if (::rename(beside.c_str(), target.c_str()) != 0) return fail(errno);
  const auto folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0)
    ::fsync(directory.get());  // makes the new name durable; some file systems cannot
  return {};
}

}  // namespace sollol::discovery
