#pragma once

#include <string>
#include <string_view>

#include "base/environment.h"
#include "base/result.h"

namespace sollol::discovery {

/// `~` and `~/...` with HOME in its place; anything else, and all of it where HOME is unset, as it
/// was.
std::string expand_home(std::string_view path, const Environment& environment);

/// The whole of a file of at most 16 MiB. Error: not_found when there is none, else bad_input with
/// the reason.
Result<std::string> read_file(const std::string& path);

/// Replaces a file at once: a reader, or a crash, meets the old text or the new one, never a part.
///
/// Writes beside it, syncs, renames. A link is followed, permissions are kept, missing folders are
/// made. Error: bad_input naming the path and the system's reason.
Result<void> write_file_atomically(const std::string& path, std::string_view text);

}  // namespace sollol::discovery
