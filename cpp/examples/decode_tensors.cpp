// Decodes what a network put out, from files, and prints the people as JSON.
//
//   decode_tensors model.onnx.json --photo 640x480 heat4=heat4.npy tag4=tag4.npy heat2=heat2.npy
//
// The names are those of the outputs in the sidecar. Files are .npy, or hold nothing but numbers, float32 (int32 for
// peak_pixels), little-endian; then --input 512x384 says how large the network's input was. Networks with candidates
// instead of maps need --input too, unless their input has one size. With --photo, people are in pixels of the photo,
// else of the network's input. --exact prints all digits, tags, and which keypoints were filled in. --rounds 50
// decodes so often and prints the median of the processor time on the standard error.
//
// decode_tensors --jobs FILE does the same for each line of a file, split at tabs, and prints one line for each: the
// people, or {"error": "..."}.
#include <algorithm>
#include <ctime>
#include <iostream>
#include <map>

#include "ehrpose_sidecar.h"
#include "tensor_files.h"

namespace {

struct Job {
  std::string sidecar;
  std::array<int, 2> photo{0, 0}, input{0, 0};
  bool exact = false;
  int rounds = 1;
  std::map<std::string, std::string> files;
};

std::array<int, 2> size_in(const std::string& option, const std::string& text) {
  std::array<int, 2> size{0, 0};
  char rest = 0;
  if (std::sscanf(text.c_str(), "%6dx%6d%c", &size[0], &size[1], &rest) != 2 || size[0] < 1 || size[1] < 1) {
    throw std::invalid_argument(option + ": expected WIDTHxHEIGHT, got " + text);
  }
  return size;
}

Job parse(const std::vector<std::string>& arguments) {
  Job job;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--exact") {
      job.exact = true;
    } else if ((argument == "--photo" || argument == "--input") && i + 1 < arguments.size()) {
      (argument == "--photo" ? job.photo : job.input) = size_in(argument, arguments[i + 1]);
      ++i;
    } else if (argument == "--rounds" && i + 1 < arguments.size()) {
      job.rounds = std::atoi(arguments[++i].c_str());
      if (job.rounds < 1 || job.rounds > 100000)
        throw std::invalid_argument("--rounds: expected a number from 1 to 100000");
    } else if (job.sidecar.empty() && argument.compare(0, 1, "-") != 0) {
      job.sidecar = argument;
    } else {
      const std::size_t equals = argument.find('=');
      if (equals == std::string::npos) throw std::invalid_argument("expected NAME=FILE, got " + argument);
      job.files[argument.substr(0, equals)] = argument.substr(equals + 1);
    }
  }
  if (job.sidecar.empty()) throw std::invalid_argument("expected the network's JSON");
  return job;
}

const std::string& file_of(const Job& job, const std::string& name) {
  const auto found = job.files.find(name);
  if (found == job.files.end()) throw std::invalid_argument("expected " + name + "=FILE");
  return found->second;
}

std::size_t quotient(std::size_t values, std::size_t divisor, const std::string& name) {
  if (!divisor || values % divisor) throw std::invalid_argument(name + ": expected another number of values");
  return values / divisor;
}

int as_int(std::size_t side) { return static_cast<int>(std::min<std::size_t>(side, 1 << 30)); }

// Decodes once, or as often as asked for, and then tells how long it takes.
template <typename Decode>
std::vector<ehrpose::Person> timed(int rounds, Decode&& decode) {
  std::vector<ehrpose::Person> people;
  std::vector<double> milliseconds;
  for (int i = 0; i < rounds; ++i) {
    const std::clock_t start = std::clock();
    people = decode();
    milliseconds.push_back(1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  if (rounds > 1) {
    std::sort(milliseconds.begin(), milliseconds.end());
    std::fprintf(stderr, "%.4f ms of processor time, median of %d\n", milliseconds[milliseconds.size() / 2], rounds);
  }
  return people;
}

std::vector<ehrpose::Person> decode_maps(const ehrpose::Decoder& decoder, const Job& job,
                                         const std::vector<std::string>& names) {
  std::map<std::string, examples::Tensor<float>> tensors;
  ehrpose::Maps maps;
  const std::map<std::string, ehrpose::Map*> fields{
      {"heat4", &maps.heat4}, {"tag4", &maps.tag4}, {"heat2", &maps.heat2}, {"tag2", &maps.tag2}};
  for (const std::string& name : names) {
    examples::Tensor<float>& tensor = tensors[name] = examples::read_tensor<float>(file_of(job, name), "<f4", 3);
    if (tensor.shape.empty()) {
      const auto stride = static_cast<std::size_t>(name.back() - '0');
      if (!job.input[0]) throw std::invalid_argument("expected --input WIDTHxHEIGHT, as " + name + " has no shape");
      const std::size_t width = static_cast<std::size_t>(job.input[0]) / stride;
      const std::size_t height = static_cast<std::size_t>(job.input[1]) / stride;
      tensor.shape = {quotient(tensor.values.size(), width * height, name), height, width};
    }
    const std::array<int, 3> shape{as_int(tensor.shape[0]), as_int(tensor.shape[1]), as_int(tensor.shape[2])};
    const int stride = name.back() - '0';
    if (job.input[0] && (shape[2] != job.input[0] / stride || shape[1] != job.input[1] / stride)) {
      throw std::invalid_argument(name + ": expected the maps of an input of " + std::to_string(job.input[0]) + "x" +
                                  std::to_string(job.input[1]));
    }
    *fields.at(name) = {tensor.values.data(), shape[0], shape[1], shape[2]};
  }
  return timed(job.rounds, [&] { return decoder.decode(maps); });
}

std::vector<ehrpose::Person> decode_peaks(const ehrpose::Decoder& decoder, const Job& job, std::array<int, 2> input) {
  const auto read = [&](const char* name, std::size_t axes) {
    return examples::read_tensor<float>(file_of(job, name), "<f4", axes);
  };
  const examples::Tensor<float> scores = read("peak_scores", 2), cross = read("peak_cross", 3);
  const examples::Tensor<float> heat = read("peak_heat", 3), tags = read("peak_tags", 4);
  const auto pixels = examples::read_tensor<std::int32_t>(file_of(job, "peak_pixels"), "<i4", 2);
  // How many there are, whatever the shapes say, is what keeps reading inside of the arrays.
  const std::size_t count = scores.values.size(), types = decoder.settings().names.size();
  const std::size_t candidates = quotient(count, types, "peak_scores");
  if (pixels.values.size() != count || cross.values.size() != 4 * count || heat.values.size() != 9 * count) {
    throw std::invalid_argument(
        "peaks: expected as many pixels as scores, 4 times as many of cross and 9 times of heat");
  }
  for (const examples::Tensor<float>* tensor : {&scores, &cross, &heat}) {
    if (!tensor->shape.empty() && tensor->shape[0] != types) {
      throw std::invalid_argument("peaks: expected " + std::to_string(types) + " types of keypoints");
    }
  }
  ehrpose::Peaks peaks;
  peaks.num_types = as_int(types);
  peaks.num_candidates = as_int(candidates);
  peaks.num_tags = as_int(count ? quotient(tags.values.size(), 9 * count, "peak_tags") : 1);
  static const float kNone[1] = {0};
  const auto data = [](const examples::Tensor<float>& tensor) {
    return tensor.values.empty() ? kNone : tensor.values.data();
  };
  static const std::int32_t kNoPixels[1] = {0};
  peaks.scores = data(scores);
  peaks.pixels = pixels.values.empty() ? kNoPixels : pixels.values.data();
  peaks.cross = data(cross);
  peaks.heat = data(heat);
  peaks.tags = data(tags);
  return timed(job.rounds, [&] { return decoder.decode_peaks(peaks, input[0], input[1]); });
}

std::string run(const Job& job) {
  const ehrpose::Sidecar sidecar = ehrpose::read_sidecar(job.sidecar);
  const ehrpose::Decoder decoder(sidecar.settings);
  std::array<int, 2> input = job.input;
  ehrpose::InputPlan plan;
  if (job.photo[0]) {
    plan = ehrpose::plan_input(sidecar, job.photo[0], job.photo[1]);
    if (!input[0]) input = {plan.width, plan.height};
    if (input[0] != plan.width || input[1] != plan.height) {
      throw std::invalid_argument("--input: expected " + std::to_string(plan.width) + "x" +
                                  std::to_string(plan.height) + " for this photo, got " + std::to_string(input[0]) +
                                  "x" + std::to_string(input[1]));
    }
  } else if (!input[0] && sidecar.sizes.size() == 1) {
    input = sidecar.sizes[0];  // the only one
  }
  std::vector<ehrpose::Person> people;
  if (sidecar.peaks) {
    if (!input[0]) throw std::invalid_argument("expected --input WIDTHxHEIGHT, the size of the network's input");
    people = decode_peaks(decoder, job, input);
  } else {
    Job sized = job;
    sized.input = input;
    people = decode_maps(decoder, sized, sidecar.outputs);
  }
  if (job.photo[0]) people = ehrpose::to_photo(std::move(people), plan.warp);
  return examples::people_json(people, job.exact);
}

int run_jobs(const std::string& path) {
  std::ifstream lines(path);
  if (!lines) throw std::invalid_argument(path + ": expected a file that can be read");
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> arguments;
    std::istringstream parts(line);
    for (std::string part; std::getline(parts, part, '\t');) arguments.push_back(part);
    try {
      std::cout << run(parse(arguments)) << std::endl;
    } catch (const std::exception& error) {
      std::string message = error.what();
      for (char& c : message) c = c == '"' || c == '\\' || c < ' ' || c > '~' ? '\'' : c;
      std::cout << "{\"error\": \"" << message << "\"}" << std::endl;
    }
  }
  return 0;
}

}  // namespace

int main(int count, char** values) {
  const std::vector<std::string> arguments(values + 1, values + count);
  if (arguments.empty() || arguments[0] == "--help") {
    std::cout << "usage: decode_tensors SIDECAR [--photo WxH] [--input WxH] [--exact] [--rounds N] NAME=FILE ...\n"
                 "       decode_tensors --jobs FILE\n";
    return arguments.empty() ? 2 : 0;
  }
  try {
    if (arguments[0] == "--jobs" && arguments.size() == 2) return run_jobs(arguments[1]);
    std::cout << run(parse(arguments)) << "\n";
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 2;
  }
}
