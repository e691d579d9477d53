// Ambiguous requests (smuggling_corpus.txt): each refused, or read by the node as by the gateway.
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <vector>

#include "harness.h"
#include "sim/recorder.h"

namespace sollol::test {
namespace {

const std::string body = R"({"model":"llama3.2","prompt":"corpus","stream":false})";
const std::string evil_body = R"({"model":"llama3.2","prompt":"smuggled","stream":false})";

std::string sized_post(const std::string& content) {
  return "POST /api/generate HTTP/1.1\r\nHost: gateway\r\nContent-Length: " +
         std::to_string(content.size()) + "\r\n\r\n" + content;
}

std::string hex(std::size_t number) {
  char text[16];
  return {text, std::to_chars(text, text + sizeof text, number, 16).ptr};
}

/// What stands for `{name}` in the corpus; the braces themselves when it is no name.
std::string placeholder(const std::string& name) {
  const std::string evil = sized_post(evil_body);
  if (name == "post") return "POST /api/generate HTTP/1.1\r\nHost: gateway\r\n";
  if (name == "body") return body;
  if (name == "rest") return body.substr(1);
  if (name == "evil") return evil;
  if (name == "te") return "Transfer-Encoding: chunked\r\n";
  if (name == "cl") return "Content-Length: " + std::to_string(body.size()) + "\r\n";
  if (name == "chunked") return hex(body.size()) + "\r\n" + body + "\r\n0\r\n\r\n";
  if (const auto star = name.find('*'); star != std::string::npos) {
    const std::string piece = name.substr(star + 1);
    const std::size_t times = std::stoul(name.substr(0, star));
    if (piece.size() == 1) return std::string(times, piece[0]);
    std::string repeated;
    for (std::size_t i = 0; i < times; ++i) repeated += piece;
    return repeated;
  }
  // Sums of n or x (the body), en or ex (the other request) and plain numbers.
  std::size_t sum = 0;
  int sign = 1;
  std::string word;
  for (const char c : name + '+') {
    if (c != '+' && c != '-') {
      word += c;
      continue;
    }
    std::size_t value = 0;
    if (word == "n" || word == "x" || word == "X") {
      value = body.size();
    } else if (word == "en" || word == "ex") {
      value = evil.size();
    } else if (!word.empty() && word.find_first_not_of("0123456789") == std::string::npos) {
      value = std::stoul(word);
    } else {
      return "{" + name + "}";
    }
    sum = sign > 0 ? sum + value : sum - value;
    sign = c == '-' ? -1 : 1;
    word.clear();
  }
  if (name[0] == 'X') {
    std::string upper = hex(sum);
    std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
    return upper;
  }
  return name[0] == 'x' || name.starts_with("ex") ? hex(sum) : std::to_string(sum);
}

/// The bytes of one column: escapes undone, placeholders filled in.
std::string bytes_of(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') {
      const std::size_t end = text.find('}', i);
      const bool names = end != std::string::npos && text[i + 1] != '"' && text[i + 1] != '\\';
      if (!names) {
        bytes += '{';
        continue;
      }
      const std::string name = text.substr(i + 1, end - i - 1);
      bytes += placeholder(name.contains('\\') ? bytes_of(name) : name);
      i = end;
    } else if (text[i] == '\\') {
      const char kind = text.at(++i);
      if (kind == 'x') {
        bytes += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
        i += 2;
      } else {
        bytes += kind == 'r'   ? '\r'
                 : kind == 'n' ? '\n'
                 : kind == 't' ? '\t'
                 : kind == '0' ? '\0'
                               : kind;
      }
    } else {
      bytes += text[i];
    }
  }
  return bytes;
}

struct Case {
  std::string name, expectation, bytes;
  friend void PrintTo(const Case& row, std::ostream* out) { *out << row.name; }
};

std::vector<Case> read_corpus() {
  std::ifstream file(SOLLOL_SMUGGLING_CORPUS);
  if (!file) throw std::runtime_error("no corpus at " SOLLOL_SMUGGLING_CORPUS);
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::size_t first = line.find(" | ");
    const std::size_t second = line.find(" | ", first + 3);
    if (second == std::string::npos) throw std::runtime_error("corpus: " + line);
    cases.push_back({line.substr(0, first), line.substr(first + 3, second - first - 3),
                     bytes_of(line.substr(second + 3))});
  }
  return cases;
}

const std::vector<Case>& corpus() {
  static const std::vector<Case> cases = read_corpus();
  return cases;
}

struct Wanted {
  std::string method, target, body;
};

/// The gateway and its one node, the same for all cases: each leaves them as they were.
class Smuggling : public testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    fleet_ = new TestFleet(equal_nodes(1, {chat_model()}));
    fleet_->ask("POST", "/api/generate", body);  // loads the model: no case meets a cold node
  }
  static void TearDownTestSuite() {
    delete fleet_;
    fleet_ = nullptr;
  }

  void SetUp() override { before_ = count(); }

  /// Requests that the node has got, but for the gateway's own.
  static std::uint64_t count() {
    const sim::NodeCounters counters = fleet_->nodes().counters("a");
    return counters.total() - counters.of("GET /api/version") - counters.of("GET /api/tags") -
           counters.of("GET /api/ps");
  }

  /// What came since the case began, in order.
  static std::vector<sim::SeenRequest> latest(std::size_t wanted) {
    std::vector<sim::SeenRequest> seen = fleet_->nodes().requests("a");
    std::erase_if(seen, [](const sim::SeenRequest& request) {
      return request.method == "GET" && (request.path == "/api/version" ||
                                         request.path == "/api/tags" || request.path == "/api/ps");
    });
    seen.erase(seen.begin(),
               seen.end() - static_cast<std::ptrdiff_t>(std::min(wanted, seen.size())));
    return seen;
  }

  void expect_at_node(const std::vector<Wanted>& wanted) {
    ASSERT_EQ(count() - before_, wanted.size());
    const std::vector<sim::SeenRequest> seen = latest(wanted.size());
    ASSERT_EQ(seen.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_EQ(seen[i].head.substr(0, seen[i].head.find("\r\n")),
                wanted[i].method + " " + wanted[i].target + " HTTP/1.1");
      EXPECT_EQ(seen[i].body, wanted[i].body);
      expect_plain_head(seen[i].head, wanted[i].body.size());
    }
  }

  /// One framing, no hop-by-hop field, our own Host.
  static void expect_plain_head(std::string head, std::size_t length) {
    std::ranges::transform(head, head.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto times = [&head](const std::string& name) {
      std::size_t found = 0;
      for (auto at = head.find("\r\n" + name + ":"); at != std::string::npos;
           at = head.find("\r\n" + name + ":", at + 1))
        ++found;
      return found;
    };
    EXPECT_EQ(times("content-length"), 1u) << head;
    EXPECT_TRUE(head.contains("\r\ncontent-length: " + std::to_string(length) + "\r\n")) << head;
    for (const char* name : {"transfer-encoding", "te", "trailer", "upgrade", "http2-settings",
                             "expect", "keep-alive", "proxy-connection", "x-secret", "forwarded"})
      EXPECT_EQ(times(name), 0u) << name << " in " << head;
    EXPECT_EQ(times("host"), 1u) << head;
    EXPECT_TRUE(head.contains("\r\nhost: 127.0.0.1")) << head;
  }

  /// Whatever is left of the bytes is read and judged before this comes back: the connection has
  /// ended.
  static void finish(RawClient& client) {
    client.send("\x01\r\n\r\n");  // no request; not needed where the connection has ended already
    client.closed();
  }

  static inline TestFleet* fleet_ = nullptr;
  std::uint64_t before_ = 0;
};

TEST_P(Smuggling, IsRefusedOrReadAlike) {
  const std::string& expectation = GetParam().expectation;
  const bool is_head = GetParam().bytes.starts_with("HEAD ");
  RawClient client(fleet_->port());
  client.send(GetParam().bytes);
  const Wanted plain{"POST", "/api/generate", body};
  const Wanted empty{"POST", "/api/generate", ""};
  const Wanted evil{"POST", "/api/generate", evil_body};
  if (expectation == "waits") {
    client.close();
    expect_at_node({});
    return;
  }
  const auto answer =
      client.receive(is_head ? RawClient::Expect::head_only : RawClient::Expect::body);
  if (std::isdigit(static_cast<unsigned char>(expectation[0]))) {
    EXPECT_EQ(answer.status, std::stoi(expectation)) << answer.raw;
    EXPECT_EQ(answer.field("connection"), "close");
    EXPECT_TRUE(client.closed());
    EXPECT_EQ(client.receive().status, 0) << "a second answer";
    expect_at_node({});
  } else if (expectation.starts_with("here ")) {
    EXPECT_EQ(answer.status, std::stoi(expectation.substr(5))) << answer.raw;
    finish(client);
    expect_at_node({});
  } else if (expectation.starts_with("two")) {
    const bool with_body = expectation == "two";
    EXPECT_EQ(answer.status, with_body ? 200 : 400) << answer.raw;
    EXPECT_EQ(client.receive().status, 200);
    finish(client);
    expect_at_node({with_body ? plain : empty, evil});
  } else if (expectation == "evil") {
    EXPECT_EQ(answer.status, 200) << answer.raw;
    EXPECT_EQ(client.receive().status, 200);
    finish(client);
    expect_at_node({evil});
  } else if (expectation.starts_with("one-then-")) {
    EXPECT_EQ(answer.status, 200) << answer.raw;
    EXPECT_EQ(client.receive().status, std::stoi(expectation.substr(9)));
    finish(client);
    expect_at_node({plain});
  } else {
    ASSERT_TRUE(expectation.starts_with("one")) << expectation;
    EXPECT_NE(answer.status, 0);
    EXPECT_LT(answer.status, 500) << answer.raw;
    finish(client);
    Wanted wanted = plain;
    if (expectation.size() > 4) {
      const auto target = expectation.find(' ', 4) + 1;
      const auto content = expectation.find(' ', target) + 1;
      wanted = {expectation.substr(4, target - 5), expectation.substr(target, content - target - 1),
                bytes_of(expectation.substr(content))};
    } else {
      EXPECT_EQ(answer.status, 200) << answer.raw;
    }
    expect_at_node({wanted});
  }
}

INSTANTIATE_TEST_SUITE_P(Corpus, Smuggling, testing::ValuesIn(corpus()), [](const auto& row) {
  std::string name = row.param.name;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(SmugglingCorpus, IsLarge) { EXPECT_GE(corpus().size(), 200u); }

}  // namespace
}  // namespace sollol::test
