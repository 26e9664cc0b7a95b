// A view that stays at the end while an answer grows, until the reader looks up.

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";

/** Pixels from the end at which somebody who scrolls down takes hold of it again. */
const nearEnd = 64;

/**
 * Keeps a scrolled element, whose first child grows, at its end. Any way up lets go, and the wheel, key or finger does so
 * before anything has moved: a browser that scrolls smoothly begins with a pixel, and going to the end again in the same
 * frame would end its way. Coming back to the end takes hold again, and so do another conversation and an answer that
 * begins (`growing`); the end of an answer moves nothing.
 */
export function useFollow(conversation: string, growing: string | undefined) {
  const scroller = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  useLayoutEffect(() => {
    follows.current = true;
  }, [conversation]);
  useLayoutEffect(() => {
    if (growing !== undefined) follows.current = true;
  }, [growing]);
  useEffect(() => {
    const element = scroller.current!;
    let last = element.scrollTop, height = element.scrollHeight;
    const onScroll = () => {
      const { scrollTop, scrollHeight, clientHeight } = element;
      const left = scrollHeight - scrollTop - clientHeight;
      if (scrollTop > last && left <= nearEnd) follows.current = true;
      // A text or a window that became shorter moves the view up, too; that is not the reader.
      else if (scrollTop < last && scrollHeight >= height && left > 0) follows.current = false;
      last = scrollTop;
      height = scrollHeight;
    };
    const letGo = () => {
      if (element.scrollTop > 0) follows.current = false;
    };
    const onWheel = ({ deltaY }: WheelEvent) => deltaY < 0 && letGo();
    const onKey = ({ key }: KeyboardEvent) => /^(?:ArrowUp|PageUp|Home)$/.test(key) && letGo();
    let finger = 0;
    const onTouch = ({ type, touches: [touch] }: TouchEvent) => {
      if (type === "touchmove" && touch!.clientY > finger) letGo();
      finger = touch!.clientY;
    };
    const resized = new ResizeObserver(() => {
      if (follows.current) element.scrollTop = element.scrollHeight;
    });
    const ended = new AbortController();
    const listening = { passive: true, signal: ended.signal };
    element.addEventListener("scroll", onScroll, listening);
    element.addEventListener("wheel", onWheel, listening);
    element.addEventListener("keydown", onKey, listening);
    element.addEventListener("touchstart", onTouch, listening);
    element.addEventListener("touchmove", onTouch, listening);
    resized.observe(element.firstElementChild!);
    resized.observe(element);
    return () => {
      ended.abort();
      resized.disconnect();
    };
  }, []);
  return scroller;
}
