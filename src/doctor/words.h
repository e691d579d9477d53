#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

namespace sollol::doctor {

/// "1 node", "3 nodes".
inline std::string counted(std::size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

/// "a, b, c and 7 more": at most `named_max` are named.
inline std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t named_max = 5;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < named_max; ++i)
    text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > named_max) text += fmt::format(" and {} more", names.size() - named_max);
  return text;
}

/// A model's name as people write it: without what stands before every one of Ollama's own.
inline std::string_view shown(std::string_view key) {
  constexpr std::string_view registry = "registry.ollama.ai/library/";
  return key.starts_with(registry) ? key.substr(registry.size()) : key;
}

inline std::string ports_text(const std::vector<std::uint16_t>& ports) {
  std::string text = ports.size() == 1 ? "port " : "ports ";
  for (std::size_t i = 0; i < ports.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(ports[i]);
  return text;
}

/// How an Ollama is made to listen for other machines.
inline constexpr std::string_view listen_for_others =
    "there: `sudo systemctl edit ollama`, add the lines `[Service]` and "
    "`Environment=\"OLLAMA_HOST=0.0.0.0\"`, then `sudo systemctl restart ollama`; started by hand: "
    "`OLLAMA_HOST=0.0.0.0 ollama serve`";

}  // namespace sollol::doctor
