"""The keyboard of the plate browser: the one script of a report, as text.

Without it the wells are plain links to sections, of which the page shows the one that
was followed. With it arrows go from well to well, Enter opens one, Escape closes it and
goes back. It is a constant, so the page's policy names it by its hash, and no other
script runs. Nothing here knows a run.
"""

from __future__ import annotations

from typing import Final

SCRIPT: Final = """
(() => {
  const plate = document.querySelector('.plate');
  if (!plate) return;
  const grid = [...plate.rows].map(row =>
    [...row.querySelectorAll('td')].map(cell => cell.querySelector('a')))
    .filter(row => row.length);
  const links = grid.flat().filter(Boolean);
  const steps = {ArrowUp: [-1, 0], ArrowDown: [1, 0],
    ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  const hold = link => {
    links.forEach(each => { each.tabIndex = each === link ? 0 : -1; });
    return link;
  };
  const opened = () => links.find(each => each.hash === location.hash);
  const show = () => {
    const link = opened();
    links.forEach(each => each.removeAttribute('aria-current'));
    if (!link) return;
    hold(link).setAttribute('aria-current', 'true');
    document.getElementById(link.hash.slice(1)).focus();
  };
  const close = () => {
    const link = opened();
    if (!link) return false;
    location.hash = '#plate-browser';
    hold(link).focus();
    return true;
  };
  const next = (link, [down, right]) => {
    let y = grid.findIndex(row => row.includes(link)), x = grid[y].indexOf(link);
    do { y += down; x += right; } while (grid[y] && x in grid[y] && !grid[y][x]);
    return grid[y] && grid[y][x];
  };
  plate.setAttribute('role', 'grid');
  hold(opened() || links[0]);
  plate.addEventListener('keydown', event => {
    const here = links.indexOf(document.activeElement);
    if (here < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const row = grid.find(each => each.includes(links[here])).filter(Boolean);
    const ends = {Home: row[0], End: row[row.length - 1]};
    const to = steps[event.key] ? next(links[here], steps[event.key])
      : ends[event.key];
    if (steps[event.key] || to) event.preventDefault();
    if (to) hold(to).focus();
  });
  document.addEventListener('keydown', event => {
    if (event.key === 'Escape' && close()) event.preventDefault();
  });
  window.addEventListener('hashchange', show);
  show();
})();
"""
