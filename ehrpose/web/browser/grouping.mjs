// Candidates to people by their tags: ehrpose/codecs/grouping.py and ehrpose/assignment.py.
// A candidate has `type`, `x` and `y` (input px, float64), `score` and `tag` (float32 values).

export const LARGEST = 1e15;
export const f32 = Math.fround;

// The nearest whole number, halves to the even one, as NumPy's rint.
export function rint(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return rest > 0.5 ? low + 1 : low;
  return low % 2 === 0 ? low : low + 1;
}

// The column of each row at minimum total cost, -1 for none, by shortest augmenting paths (D. F. Crouse, IEEE
// Transactions on Aerospace and Electronic Systems 52(4), 2016). `cost` are rows of finite numbers. Columns are visited
// from last to first, and of equally near ones a free one is taken: that decides between equally cheap assignments.
export function assign(cost) {
  if (!cost.length || !cost[0].length) return cost.map(() => -1);
  const turned = cost.length > cost[0].length;
  const table = turned ? cost[0].map((_, c) => cost.map((row) => row[c])) : cost;
  const rows = table.length;
  const columns = table[0].length;
  const rowPrice = new Float64Array(rows);
  const columnPrice = new Float64Array(columns);
  const columnOf = new Int32Array(rows).fill(-1);
  const rowOf = new Int32Array(columns).fill(-1);
  for (let start = 0; start < rows; start++) {
    const shortest = new Float64Array(columns).fill(Infinity);
    const before = new Int32Array(columns).fill(-1);
    const line = Array.from({ length: columns }, (_, i) => columns - 1 - i);
    const seenRows = [];
    const seenColumns = [];
    let row = start;
    let length = 0;
    let end = -1;
    while (end < 0) {
      let place = -1;
      let least = Infinity;
      for (let i = 0; i < line.length; i++) {
        const column = line[i];
        const through = length + table[row][column] - rowPrice[row] - columnPrice[column];
        if (through < shortest[column]) {
          shortest[column] = through;
          before[column] = row;
        }
        if (shortest[column] < least || (shortest[column] === least && rowOf[column] < 0)) {
          least = shortest[column];
          place = i;
        }
      }
      if (place < 0) throw new Error("expected finite costs of the assignment, got NaN or infinity");
      length = least;
      const column = line[place];
      seenColumns.push(column);
      if (rowOf[column] < 0) {
        end = column;
      } else {
        row = rowOf[column];
        seenRows.push(row);
      }
      line[place] = line[line.length - 1];
      line.pop();
    }
    rowPrice[start] += length;
    for (const r of seenRows) rowPrice[r] += length - shortest[columnOf[r]];
    for (const c of seenColumns) columnPrice[c] -= length - shortest[c];
    for (;;) {
      const from = before[end];
      rowOf[end] = from;
      const next = columnOf[from];
      columnOf[from] = end;
      end = next;
      if (from === start) break;
    }
  }
  return Array.from(turned ? rowOf : columnOf);
}

// The Euclidean distance between two tags.
export function tagDistance(first, second) {
  if (first.length === 1) return Math.abs(first[0] - second[0]);
  let squares = 0;
  for (let t = 0; t < first.length; t++) squares += (first[t] - second[t]) * (first[t] - second[t]);
  return Math.sqrt(squares);
}

// People in order of creation, each { members, tag }: the candidate of each type or null, and their mean tag.
// `byType` are the candidates of each type, best first; with placeWeight, x and y are two more dimensions of the tag.
export function groupCandidates(byType, inputWh, settings) {
  const { order, maxTagDist, placeWeight, distReweight } = settings;
  const weight = placeWeight / Math.min(...inputWh);
  const people = [];
  for (const k of order) {
    const found = byType[k];
    if (!found.length) continue;
    const tags = found.map((c) => (placeWeight ? [...c.tag, f32(c.x * weight), f32(c.y * weight)] : c.tag));
    if (!tags.flat().every((value) => Math.abs(value) <= LARGEST)) {
      throw new Error("tags of candidates: expected finite values up to 1e15; place_weight is too large");
    }
    let person = found.map(() => -1);
    if (people.length) {
      const means = people.map((p) => p.sums.map((sum) => sum / p.count));
      const distance = tags.map((tag) => means.map((mean) => tagDistance(tag, mean)));
      const factors = distReweight ? distanceFactors(found, people) : null;
      const cost = distance.map((row, i) =>
        row.map((value, j) => {
          const counted = factors && value <= maxTagDist ? value * factors[j][i] : value;
          return rint(counted) * 100 - found[i].score;
        }),
      );
      person = assign(cost).map((j, i) => (j >= 0 && distance[i][j] <= maxTagDist ? j : -1));
    }
    person.forEach((j, i) => {
      if (j < 0) {
        people.push({ members: byType.map(() => null), sums: tags[i].map(() => 0), count: 0, x: 0, y: 0 });
      }
      const owner = people[j < 0 ? people.length - 1 : j];
      owner.members[k] = found[i];
      tags[i].forEach((value, t) => {
        owner.sums[t] += value;
      });
      owner.count += 1;
      owner.x += found[i].x;
      owner.y += found[i].y;
    });
  }
  return people.map(({ members, sums, count }) => {
    const length = sums.length - (placeWeight ? 2 : 0);
    return { members, tag: sums.slice(0, length).map((sum) => sum / count) };
  });
}

// For each person the distance of each candidate from its members' middle, relative to that of the nearest one.
function distanceFactors(found, people) {
  return people.map(({ x, y, count }) => {
    const distances = found.map((c) => {
      const dx = c.x - x / count;
      const dy = c.y - y / count;
      return Math.sqrt(dx * dx + dy * dy);
    });
    const least = Math.min(...distances) + 1e-10;
    return distances.map((distance) => distance / least);
  });
}
