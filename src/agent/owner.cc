#include "agent/owner.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

namespace sollol::agent {
namespace {

constexpr std::size_t sessions_max = 256;

/// The value of a line `KEY=value`.
std::string_view value_of(std::string_view text, std::string_view key) {
  std::size_t at = 0;
  while ((at = text.find(key, at)) != std::string_view::npos) {
    const bool line_start = at == 0 || text[at - 1] == '\n';
    at += key.size();
    if (line_start && at < text.size() && text[at] == '=')
      return text.substr(at + 1, std::min(text.find('\n', at), text.size()) - at - 1);
  }
  return {};
}

/// The sum of the counts in the lines of /proc/interrupts that name the keyboard's controller.
std::optional<std::uint64_t> keyboard_interrupts(const Roots& roots) {
  const auto text = read_text(roots.proc + "/interrupts", 4 << 20);
  if (!text) return std::nullopt;
  std::optional<std::uint64_t> sum;
  for (std::size_t at = 0; at < text->size();) {
    const auto end = std::min(text->find('\n', at), text->size());
    std::string_view line = std::string_view(*text).substr(at, end - at);
    at = end + 1;
    if (!line.contains("i8042")) continue;
    sum = sum.value_or(0);
    line.remove_prefix(std::min(line.find(':') + 1, line.size()));
    while (true) {
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      std::uint64_t count = 0;
      const auto [stop, failure] = std::from_chars(line.data(), line.data() + line.size(), count);
      // The counts end where the controller's name begins, which may be a number with letters.
      if (failure != std::errc{} || (stop != line.data() + line.size() && *stop != ' ')) break;
      *sum += count;
      line.remove_prefix(static_cast<std::size_t>(stop - line.data()));
    }
  }
  return sum;
}

/// Seconds since a terminal last had input; nothing when it cannot be told.
std::optional<std::uint64_t> terminal_idle(const std::string& path, WallTime now) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  const auto now_s = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch());
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, now_s.count() - status.st_atime));
}

void keep_less(std::optional<std::uint64_t>& least, std::optional<std::uint64_t> other) {
  if (other) least = std::min(least.value_or(*other), *other);
}

}  // namespace

Owner OwnerWatch::read(TimePoint now, WallTime wall_now) {
  Owner owner;
  bool graphical = false;
  const auto folder = roots_.run + "/systemd/sessions";
  struct stat status{};
  const bool told = ::stat(folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  for (const auto& name : names_in(folder, sessions_max)) {
    const auto text = read_text(folder + "/" + name, 64 << 10);
    if (!text || value_of(*text, "ACTIVE") != "1" || value_of(*text, "REMOTE") == "1") continue;
    // Greeters and services are sessions too.
    if (value_of(*text, "CLASS") != "user" || value_of(*text, "SEAT").empty()) continue;
    ++owner.sessions;
    const auto type = value_of(*text, "TYPE");
    graphical = graphical || type == "x11" || type == "wayland" || type == "mir";
    const std::string terminal(value_of(*text, "TTY"));
    if (!terminal.empty() && type == "tty" && !terminal.contains(".."))
      keep_less(owner.idle_s, terminal_idle(roots_.dev + "/" + terminal, wall_now));
  }
  watch_keyboard(now);
  if (input_) {
    const auto idle = std::chrono::duration_cast<std::chrono::seconds>(now - *input_);
    keep_less(owner.idle_s, static_cast<std::uint64_t>(idle.count()));
  }
  const auto away_s = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::seconds>(away_after).count());
  if (owner.idle_s && *owner.idle_s < away_s)
    owner.in_use = true;
  else if (told && owner.sessions == 0)
    owner.in_use = false;
  else if (owner.idle_s && !graphical)
    owner.in_use = false;
  return owner;
}

void OwnerWatch::watch_keyboard(TimePoint now) {
  const auto count = keyboard_interrupts(roots_);
  if (count && interrupts_ && *count > *interrupts_) input_ = now;
  interrupts_ = count;
}

}  // namespace sollol::agent
