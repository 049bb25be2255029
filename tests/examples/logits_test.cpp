// SPDX-License-Identifier: MIT
// bitnet-logits and bitnet-perplexity as processes.
#include "golden/checkpoint_writer.hpp"
#include "models.hpp"
#include "process.hpp"

#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/convert/checkpoint_converter.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet_tests;

namespace {

constexpr std::size_t vocabulary = 4128;
constexpr std::string_view ids = "4096,2365,681,258,525,429,308"; // "Once upon a time there was", after BOS
constexpr std::size_t id_count = 7;

std::vector<std::string> with(std::vector<std::string> more, std::string_view list = ids) {
    more.insert(more.begin(), {"-m", tiny, "--ids", std::string(list)});
    return more;
}

std::vector<float> floats(const std::string& bytes) {
    REQUIRE(bytes.size() % sizeof(float) == 0);
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    }
    return largest;
}

/// The number after `key` in the output of bitnet-perplexity.
double figure(const std::string& text, const std::string& key) {
    const auto at = ("\n" + text).find("\n" + key + " ");
    REQUIRE(at != std::string::npos);
    std::istringstream rest(text.substr(at + key.size() + 1));
    double value = 0;
    rest >> value;
    REQUIRE(!rest.fail());
    return value;
}

/// The first rows and columns of a matrix of floats, or the first elements of a vector.
void cut(safetensors_entry& matrix, std::size_t rows, std::size_t columns) {
    const std::size_t stride = matrix.shape.back() * sizeof(float);
    std::string kept;
    for (std::size_t row = 0; row < rows; ++row) {
        kept += matrix.data.substr(row * stride, columns * sizeof(float));
    }
    matrix.data = kept;
    matrix.shape.back() = columns;
    if (matrix.shape.size() == 2) {
        matrix.shape.front() = rows;
    }
}

/// A checkpoint with 320 columns in ffn_down, which is no whole number of I2_S blocks: the 3B model's case.
void write_checkpoint_that_i2s_does_not_take(const std::string& folder) {
    model_shape shape;
    shape.ffn = 384;
    const auto bytes = tiny_model(shape);
    REQUIRE(bytes);
    auto made = checkpoint_of(bytes->span(), shape, checkpoint_weights::masters);
    cut(made.tensor("model.layers.0.mlp.gate_proj.weight"), 320, shape.hidden);
    cut(made.tensor("model.layers.0.mlp.up_proj.weight"), 320, shape.hidden);
    cut(made.tensor("model.layers.0.mlp.down_proj.weight"), shape.hidden, 320);
    cut(made.tensor("model.layers.0.mlp.ffn_sub_norm.weight"), 1, 320);
    made.change("\"intermediate_size\": 384", "\"intermediate_size\": 320");
    made.write(folder);
}

} // namespace

TEST_CASE("a model whose shapes I2_S does not admit runs in layout base3, from a checkpoint or a file") {
    const temporary_folder folder;
    write_checkpoint_that_i2s_does_not_take(folder.path());
    const auto pool = bitnet::thread_pool::open(2);
    REQUIRE(pool);
    const auto source = bitnet::model_file::open(folder.path(), {.load_tokenizer = false});
    REQUIRE_MESSAGE(source, (source ? "" : source.error().message));
    const auto logits = [&](const std::string& model) { return output("logits", {"-m", model, "--ids", "3,1,4,1,5"}); };
    const std::string expected = logits(folder.path());
    CHECK(expected.size() == source->gguf().find_tensor("token_embd.weight")->dims[1] * sizeof(float));
    for (const std::string_view layout : {"base3", "iq2_bn", "lookup3"}) {
        const auto converter = bitnet::checkpoint_converter::open(source->gguf(), {.layout = layout}, **pool);
        REQUIRE_MESSAGE(converter, (converter ? "" : converter.error().message));
        const std::string file = folder.path(std::string(layout) + ".gguf");
        REQUIRE((*converter)->write_file(file));
        CHECK(logits(file) == expected);
    }
    for (const char* kv : {"f32", "i8"}) {
        CHECK(output("logits", {"-m", folder.path(), "--ids", "3,1,4,1,5", "--kv", kv}).size() == expected.size());
    }
}

TEST_CASE("the logits after the last token are the last row of the logits of all tokens") {
    const std::string last = output("logits", with({}));
    const std::string all = output("logits", with({"--all"}));
    CHECK(last.size() == 4 * vocabulary);
    REQUIRE(all.size() == 4 * vocabulary * id_count);
    CHECK(all.substr(all.size() - last.size()) == last);
    CHECK(all.substr(0, last.size()) == output("logits", with({}, "4096")));
    const auto values = floats(all);
    CHECK(std::all_of(values.begin(), values.end(), [](float f) { return std::isfinite(f); }));
}

TEST_CASE("logits are the same bytes with any instruction set and any number of threads") {
    for (const std::string kv : {"f16", "f32", "i8"}) {
        const std::string first = output("logits", with({"--all", "--kv", kv, "--isa", "scalar", "-t", "1"}));
        for (const std::string& isa : isas_that_run()) {
            for (const std::string threads : {"1", "2", "3"}) {
                INFO(isa << ", " << threads << " threads");
                CHECK((output("logits", with({"--all", "--kv", kv, "--isa", isa, "-t", threads})) == first));
            }
        }
    }
}

TEST_CASE("activations are rounded as --activations says, and finer scales are nearer to floats") {
    const auto logits = [](const std::string& rounding) {
        return output("logits", with({"--all", "--kv", "f32", "--activations", rounding}));
    };
    CHECK((logits("default") == logits("token"))); // as BitNet was trained
    const auto exact = floats(logits("float"));
    double nearest_so_far = 1e9;
    for (const std::string rounding : {"token", "128", "32"}) {
        const auto rounded = floats(logits(rounding));
        REQUIRE(rounded.size() == exact.size());
        double squares = 0;
        for (std::size_t i = 0; i < exact.size(); ++i) {
            squares += std::pow(static_cast<double>(rounded[i]) - static_cast<double>(exact[i]), 2);
        }
        const double rms = std::sqrt(squares / static_cast<double>(exact.size()));
        INFO(rounding << ": rms " << rms);
        CHECK(rms > 0);
        CHECK(rms < nearest_so_far);
        nearest_so_far = rms;
    }
}

TEST_CASE("a longer context changes no logits of a model whose rotation does not depend on it") {
    const auto expected = output("logits", with({"--all"}));
    CHECK((output("logits", with({"--all", "-c", "100"})) == expected));
    CHECK((output("logits", with({"--all", "-c", "1"})) == expected)); // as many positions as tokens at least
}

TEST_CASE("golden: longrope takes its short or its long factors by -c") {
    if (skip_without_golden()) {
        return;
    }
    const std::string golden = contents(golden_path("ternary/golden/golden.json"));
    const auto json = bitnet::json_document::parse(golden, "golden.json");
    REQUIRE(json);
    const auto prompts = json->root().find("models")->find("llama-longrope")->find("prompts");
    for (const bitnet::json_value prompt : prompts->elements()) {
        const std::string file(*prompt.find("file")->as_string());
        const bool is_long = file.find(".long.") != std::string::npos;
        if (prompt.find("ids")->size() > 64) {
            continue;
        }
        std::string list;
        for (const bitnet::json_value id : prompt.find("ids")->elements()) {
            list += (list.empty() ? "" : ",") + std::to_string(*id.as_integer<int>());
        }
        const auto logits =
            floats(output("logits", {"-m", golden_path("ternary/llama-longrope-tq2_0.gguf"), "--ids", list, "--all",
                                     "--kv", "f32", "--activations", "float", "-c", is_long ? "65" : "64"}));
        INFO(file);
        CHECK(largest_difference(logits, floats(contents(golden_path("ternary/golden/" + file)))) < 1e-3);
    }
}

TEST_CASE("the element of the KV cache is chosen by --kv") {
    const auto f16 = floats(output("logits", with({"--kv", "f16"})));
    const auto f32 = floats(output("logits", with({"--kv", "f32"})));
    const auto i8 = floats(output("logits", with({"--kv", "i8"})));
    const double difference = largest_difference(f16, f32);
    CHECK(difference > 0);
    CHECK(difference < 0.5);
    CHECK(largest_difference(i8, f32) > 0);
    CHECK(largest_difference(i8, f32) < 0.5);
    CHECK((output("logits", with({})) == output("logits", with({"--kv", "f16"}))));
}

TEST_CASE("a token outside the vocabulary and more tokens than the context has are errors") {
    for (const std::string list : {"4128", "-1", "1,2,99999"}) {
        const outcome ran = run("logits", with({}, list));
        INFO(list << ": " << ran.err);
        CHECK(ran.status == 1);
        CHECK(ran.out.empty());
        CHECK(contains(ran.err, list.substr(list.rfind(',') + 1)));
        CHECK(contains(ran.err, "4128"));
    }
    std::string many = "1";
    for (int i = 1; i < 513; ++i) {
        many += ",1";
    }
    const outcome ran = run("logits", with({}, many));
    CHECK(ran.status == 1);
    CHECK(contains(ran.err, "513"));
    CHECK(contains(ran.err, "512"));
    CHECK(output("logits", with({}, many.substr(2))).size() == 4 * vocabulary);
}

TEST_CASE("--i2s-source changes how ternary tensors are read") {
    const std::string a = output("logits", with({}));
    CHECK((output("logits", with({"--i2s-source", "a"})) == a));
    CHECK((output("logits", with({"--i2s-source", "b"})) != a));
    CHECK((output("logits", with({"--i2s-source", "c"})) != a));
}

TEST_CASE("golden: logits of ten prompts are within 0.3 of the reference, half of them within 0.001") {
    if (skip_without_golden()) {
        return;
    }
    const auto json = bitnet::json_document::parse(contents(golden_path("tiny/golden/golden.json")), "golden.json");
    REQUIRE(json);
    std::size_t prompt = 0;
    std::size_t close = 0;
    for (const bitnet::json_value each : json->root().find("prompts")->elements()) {
        std::string list;
        for (const bitnet::json_value id : each.find("ids")->elements()) {
            list += (list.empty() ? "" : ",") + std::to_string(*id.as_integer<int>());
        }
        const auto ours = floats(output("logits", with({"--kv", "f32"}, list)));
        const std::string name = "tiny/golden/logits_" + std::to_string(prompt++) + ".f32";
        const double difference = largest_difference(ours, floats(contents(golden_path(name))));
        INFO(name);
        CHECK(difference <= 0.3);
        close += difference <= 1e-3 ? 1 : 0;
    }
    CHECK(prompt == 10);
    CHECK(close >= 5);
}

TEST_CASE("perplexity is computed from the logits of each chunk after a BOS") {
    const temporary_folder folder;
    const std::string text = "Once upon a time there was a king who had three daughters, and the youngest was fair.";
    const auto encoded = output("tokenize", {"-m", tiny}, "{\"text\":\"" + text + "\"}\n");
    const auto json = bitnet::json_document::parse(encoded, "ids");
    REQUIRE(json);
    std::vector<int> tokens;
    for (const bitnet::json_value id : json->root().find("ids")->elements()) {
        tokens.push_back(*id.as_integer<int>());
    }
    double total = 0;
    constexpr std::size_t chunk = 7;
    for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
        std::string list = "4096";
        const std::size_t end = std::min(begin + chunk, tokens.size());
        for (std::size_t i = begin; i + 1 < end; ++i) {
            list += "," + std::to_string(tokens[i]);
        }
        const auto logits = floats(output("logits", with({"--all"}, list)));
        for (std::size_t i = begin; i < end; ++i) {
            const float* row = logits.data() + (i - begin) * vocabulary;
            double sum = 0;
            for (std::size_t v = 0; v < vocabulary; ++v) {
                sum += std::exp(static_cast<double>(row[v]));
            }
            total += std::log(sum) - static_cast<double>(row[tokens[i]]);
        }
    }
    CHECK(tokens.size() % chunk > 1); // a last chunk that is shorter
    const std::string printed =
        output("perplexity", {"-m", tiny, "-f", folder.write("text.txt", text), "-c", std::to_string(chunk + 1)});
    const auto count = static_cast<double>(tokens.size());
    CHECK(figure(printed, "tokens") == count);
    CHECK(figure(printed, "bytes") == static_cast<double>(text.size()));
    CHECK(figure(printed, "context") == chunk + 1);
    CHECK(figure(printed, "mean negative log likelihood") == doctest::Approx(total / count).epsilon(1e-6));
    CHECK(figure(printed, "perplexity") == doctest::Approx(std::exp(total / count)).epsilon(1e-5));
    CHECK(figure(printed, "bits per byte") ==
          doctest::Approx(total / std::log(2.0) / static_cast<double>(text.size())).epsilon(1e-5));
}

TEST_CASE("perplexity of a sequence that fills its context: again, or with a window, the same on all machines") {
    const temporary_folder folder;
    std::string text = "Once upon a time there was a king who had three daughters, and the youngest was fair.";
    const std::string path = folder.write("short.txt", text);
    const auto perplexity = [](const std::string& file, const std::string& when_full, const std::string& isa) {
        return output("perplexity",
                      {"-m", tiny, "-f", file, "-c", "512", "--when-full", when_full, "--isa", isa, "-t", "2"});
    };
    const std::vector<std::string> isas = isas_that_run();
    const std::string& best = isas.front();
    const std::string whole = perplexity(path, "restart", best);
    CHECK(perplexity(path, "again", best) == whole);
    CHECK(perplexity(path, "window", best) == whole);
    for (int i = 0; i < 50; ++i) {
        text += " The " + std::to_string(i * i) + " sons of the king went to the castle, and the " + std::to_string(i) +
                ". daughter to the wood.";
    }
    const std::string longer = folder.write("long.txt", text);
    const std::string window = perplexity(longer, "window", best);
    CHECK(figure(window, "tokens") > 1024);
    CHECK(perplexity(longer, "window", isas[isas.size() > 1 ? 1 : 0]) == window);
    CHECK(perplexity(longer, "again", best) != window);
    CHECK(perplexity(longer, "restart", best) != window);
    const outcome refused = run("perplexity", {"-m", tiny, "-f", path, "-c", "500", "--when-full", "window"});
    CHECK(refused.status == 1);
    CHECK(contains(refused.err, "a window takes a context of whole pages of 256 positions, two at least, and 500"));
}

TEST_CASE("perplexity prints the same with any number of threads, and no progress if stderr is a file") {
    const temporary_folder folder;
    const std::string path =
        folder.write("text.txt", "The king said to his daughter that she must go into the forest.");
    const outcome first = run("perplexity", {"-m", tiny, "-f", path, "-t", "1", "-c", "9"});
    CHECK(first.status == 0);
    CHECK(first.err.empty());
    CHECK(output("perplexity", {"-m", tiny, "-f", path, "-t", "3", "-c", "9"}) == first.out);
    CHECK(output("perplexity", {"-m", tiny, "-f", path, "-t", "2", "-c", "9", "--isa", "scalar"}) == first.out);
}

TEST_CASE("perplexity names a text that is missing, empty or a directory, and a too long context") {
    const temporary_folder folder;
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
        {{"-f", folder.path("missing.txt")}, "missing.txt"},
        {{"-f", folder.write("empty.txt", "")}, "empty"},
        {{"-f", folder.path()}, "is a directory"},
        {{"-f", folder.write("text.txt", "Once"), "-c", "513"}, "513"},
    };
    for (auto [arguments, sentence] : cases) {
        arguments.insert(arguments.end(), {"-m", tiny});
        const outcome ran = run("perplexity", arguments);
        INFO(ran.err);
        CHECK(ran.status == 1);
        CHECK(ran.out.empty());
        CHECK(contains(ran.err, sentence));
    }
}

TEST_CASE("golden: perplexity of the held-out text is 49.386 within 0.1 %, with an F16 KV cache 0.3 %") {
    if (skip_without_golden()) {
        return;
    }
    const auto measure = [](const std::string& kv) {
        return output("perplexity",
                      {"-m", tiny, "-f", golden_path("tiny/golden/heldout20k.txt"), "-c", "512", "--kv", kv});
    };
    const std::string f32 = measure("f32");
    CHECK(figure(f32, "tokens") == 5081);
    CHECK(figure(f32, "perplexity") == doctest::Approx(49.386146).epsilon(0.001));
    CHECK(figure(f32, "bits per byte") == doctest::Approx(1.434386).epsilon(0.001));
    CHECK(figure(measure("f16"), "perplexity") == doctest::Approx(49.386146).epsilon(0.003));
}
