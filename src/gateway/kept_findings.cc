#include "gateway/kept_findings.h"

#include <algorithm>

namespace sollol::gateway {

using locality::Relation;

namespace {

bool of_pair(const KeptFinding& finding, std::string_view a, std::string_view b) {
  return finding.a.url == a && finding.b.url == b;
}

}  // namespace

bool same_node(const NodeSign& then, const NodeSign& now) {
  if (!then.version.empty() && !now.version.empty() && then.version != now.version) return false;
  if (then.addresses.empty() || now.addresses.empty()) return true;
  return std::ranges::find_first_of(then.addresses, now.addresses) != then.addresses.end();
}

std::string_view name(MeasuredBy source) noexcept {
  return source == MeasuredBy::request ? "request" : "traffic";
}

std::string_view name(Relation relation) noexcept {
  switch (relation) {
    case Relation::independent:
      return "independent";
    case Relation::same_host:
      return "same_host";
    case Relation::same_device:
      return "same_device";
    case Relation::unknown:
      break;
  }
  return "unknown";
}

std::optional<Relation> parse_relation(std::string_view text) {
  for (const Relation relation :
       {Relation::independent, Relation::same_host, Relation::same_device}) {
    if (name(relation) == text) return relation;
  }
  return std::nullopt;
}

bool KeptFindings::note(KeptFinding finding) {
  if (finding.b.url < finding.a.url) std::swap(finding.a, finding.b);
  const auto known = std::ranges::find_if(findings_, [&](const KeptFinding& each) {
    return of_pair(each, finding.a.url, finding.b.url);
  });
  if (known != findings_.end()) {
    if (known->source == MeasuredBy::request && finding.source == MeasuredBy::traffic) return false;
    *known = std::move(finding);
    return true;
  }
  if (findings_.size() >= findings_max)
    findings_.erase(std::ranges::min_element(findings_, {}, &KeptFinding::when));
  findings_.push_back(std::move(finding));
  return true;
}

void KeptFindings::forget(std::string_view url_a, std::string_view url_b) {
  if (url_b < url_a) std::swap(url_a, url_b);
  std::erase_if(findings_, [&](const KeptFinding& each) { return of_pair(each, url_a, url_b); });
}

void KeptFindings::drop_stale(
    WallTime oldest,
    const std::function<std::optional<NodeSign>(const std::string& url)>& sign_now) {
  const auto another = [&](const NodeSign& then) {
    const auto now = sign_now(then.url);
    return now && !same_node(then, *now);
  };
  std::erase_if(findings_, [&](const KeptFinding& each) {
    return each.when < oldest || another(each.a) || another(each.b);
  });
}

}  // namespace sollol::gateway
