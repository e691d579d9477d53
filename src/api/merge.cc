#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "api/json_text.h"
#include "api/listing.h"
#include "api/model_name.h"
#include "api/timestamp.h"

namespace sollol::api {
namespace {

/// A time that cannot be read is older than all others.
std::int64_t nanoseconds_of(std::string_view timestamp) {
  return parse_timestamp(timestamp).value_or(std::numeric_limits<std::int64_t>::min());
}

/// One copy of a model, and how many nodes hold it.
struct Copy {
  const ModelEntry* entry = nullptr;
  std::size_t holders = 0;
  std::int64_t modified = 0;

  bool better_than(const Copy& other) const {
    if (holders != other.holders) return holders > other.holders;
    if (modified != other.modified) return modified > other.modified;
    return entry->digest < other.entry->digest;
  }
};

/// The copies to show, most recently modified first.
std::vector<Copy> chosen_copies(std::span<const std::span<const ModelEntry>> per_node) {
  std::map<std::string_view, std::map<std::string_view, Copy>> copies;  // by key, by digest
  for (const auto entries : per_node) {
    for (const ModelEntry& entry : entries) {
      Copy& copy = copies[entry.key][entry.digest];
      const auto modified = nanoseconds_of(entry.modified_at);
      ++copy.holders;
      if (copy.entry == nullptr || modified > copy.modified) {
        copy.entry = &entry;
        copy.modified = modified;
      }
    }
  }
  std::vector<Copy> chosen;
  for (const auto& [key, by_digest] : copies) {
    const auto better = [](const auto& a, const auto& b) { return a.second.better_than(b.second); };
    chosen.push_back(std::ranges::min_element(by_digest, better)->second);
  }
  std::ranges::sort(chosen, [](const Copy& a, const Copy& b) {
    return a.modified != b.modified ? a.modified > b.modified : a.entry->key < b.entry->key;
  });
  return chosen;
}

/// `{"models":[...]}` out of entries' own texts.
template <class Range, class Raw>
std::string models_body(const Range& entries, Raw raw) {
  std::string body = R"({"models":[)";
  for (const auto& entry : entries) {
    if (body.back() != '[') body += ',';
    body += raw(entry);
  }
  return body += "]}";
}

}  // namespace

std::string merge_tags(std::span<const std::span<const ModelEntry>> per_node) {
  return models_body(chosen_copies(per_node),
                     [](const Copy& copy) -> const std::string& { return copy.entry->raw; });
}

std::string merge_ps(std::span<const std::span<const LoadedModel>> per_node) {
  struct Runner {
    const LoadedModel* model = nullptr;
    std::int64_t expires = 0;
  };
  std::map<std::string_view, Runner> by_key;
  for (const auto models : per_node) {
    for (const LoadedModel& model : models) {
      Runner& runner = by_key[model.key];
      const auto expires = nanoseconds_of(model.expires_at);
      if (runner.model == nullptr || expires > runner.expires) runner = {&model, expires};
    }
  }
  std::vector<Runner> runners;
  for (const auto& [key, runner] : by_key) runners.push_back(runner);
  std::ranges::sort(runners, [](const Runner& a, const Runner& b) {
    return a.expires != b.expires ? a.expires > b.expires : a.model->key < b.model->key;
  });
  return models_body(runners,
                     [](const Runner& runner) -> const std::string& { return runner.model->raw; });
}

std::string merge_openai_models(std::span<const std::span<const ModelEntry>> per_node) {
  const auto copies = chosen_copies(per_node);
  if (copies.empty()) return R"({"object":"list","data":null})";
  std::string body = R"({"object":"list","data":[)";
  for (const Copy& copy : copies) {
    if (body.back() != '[') body += ',';
    body += openai_model(*copy.entry);
  }
  return body += "]}";
}

std::string openai_model(const ModelEntry& entry) {
  const auto created = parse_timestamp(entry.modified_at).value_or(0) / 1'000'000'000;
  return fmt::format(R"({{"id":{},"object":"model","created":{},"owned_by":{}}})",
                     json_string(entry.name, JsonEscape::html), created,
                     json_string(model_namespace(entry.name)));
}

}  // namespace sollol::api
