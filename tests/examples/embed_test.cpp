// SPDX-License-Identifier: MIT
// bitnet-embed as a process.
#include "golden/tiny_model_writer.hpp"
#include "models.hpp"
#include "process.hpp"

#include <bitnet/io/json.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <vector>

using namespace bitnet_tests;

namespace {

std::vector<std::vector<double>> embeddings(const std::string& lines) {
    std::vector<std::vector<double>> made;
    for (std::size_t at = 0; at < lines.size();) {
        const std::size_t end = lines.find('\n', at);
        REQUIRE(end != std::string::npos);
        const auto json = bitnet::json_document::parse(std::string_view(lines).substr(at, end - at), "line");
        REQUIRE(json);
        made.emplace_back();
        for (const bitnet::json_value each : json->root().elements()) {
            made.back().push_back(each.as_double().value());
        }
        at = end + 1;
    }
    return made;
}

double product(const std::vector<double>& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        sum += a[i] * b[i];
    }
    return sum;
}

} // namespace

TEST_CASE("bitnet-embed writes a vector of length one for each line, pooled as the file or the option says") {
    model_shape shape;
    shape.architecture = "qwen3";
    shape.head_norms = true;
    shape.input_norms = true;
    shape.pooling = 1;
    const auto bytes = tiny_model(shape);
    REQUIRE(bytes);
    const temporary_folder folder;
    const std::string file = folder.write("embedder.gguf", as_text(bytes->span()));
    const std::string lines = "the first\nthe other\r\n";
    const auto by_file = embeddings(output("embed", {"-m", file}, lines));
    REQUIRE(by_file.size() == 2);
    CHECK(by_file[0].size() == shape.hidden);
    CHECK(product(by_file[0], by_file[0]) == doctest::Approx(1));
    CHECK(product(by_file[0], by_file[1]) < 0.9999);
    CHECK(embeddings(output("embed", {"-m", file, "--pooling", "mean"}, lines)) == by_file);
    const auto last = embeddings(output("embed", {"-m", file, "--pooling", "last"}, "the other"));
    REQUIRE(last.size() == 1);
    CHECK(product(last[0], by_file[1]) < 0.9999);
    CHECK(run("embed", {"-m", file, "--pooling", "cls"}).status == 2);
    const outcome too_long = run("embed", {"-m", file, "-c", "2"}, "the first line of several words");
    CHECK(too_long.status == 1);
    CHECK(contains(too_long.err, "standard input: line 1: "));
}
